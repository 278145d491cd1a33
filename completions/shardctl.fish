# fish completion for shardctl. Written by `make generate` from the command line itself.

set -g __shardctl_with_values --add-prefix --against --companions --depth --dtype --exclude --experts --experts-map --filter --group-by --include --jobs --keep-dtype --key --layout --max-shard-size --name --num-shards --order --part --progress --rename --report --scheduler --source --strip-prefix --target --tied --to --top --variant -j

# Print the words between the program's name and the cursor, without options and their values.
function __shardctl_arguments
    set -l waiting 0
    set -l ended 0
    for word in (commandline -opc)[2..-1]
        if test $waiting = 1
            set waiting 0
        else if test $ended = 1; or not string match -qr -- '^-.' $word
            echo -- $word
        else if test $word = --
            set ended 1
        else if contains -- $word $__shardctl_with_values
            set waiting 1
        end
    end
end

# Whether the command is $argv[1], and argument number $argv[2] of it is next, counted from 0.
function __shardctl_at
    set -l words (__shardctl_arguments)
    test (count $words) -gt 0; and test $words[1] = $argv[1]
    and begin
        test (count $argv) -eq 1; or test (count $words) -eq (math $argv[2] + 1)
    end
end

# Whether the command is $argv[1], and none of the options in the rest is given yet.
function __shardctl_free
    __shardctl_at $argv[1]; or return
    set -l words (commandline -opc)
    # An option whose value is being completed does not exclude itself.
    contains -- $words[-1] $__shardctl_with_values; and set -e words[-1]
    for word in $words
        contains -- (string replace -r -- '=.*' '' $word) $argv[2..-1]; and return 1
    end
    return 0
end

function __shardctl_needs_command
    test (count (__shardctl_arguments)) -eq 0
end

# Directories, and files that match the regular expression.
function __shardctl_paths
    set -l typed (commandline -ct | string replace -r -- '^-[^=]*=' '')
    # A command without completions gets the shell's files.
    complete -C "__shardctl_no_such_command $typed" | string match -r -- '^[^\t]*(?:/|'$argv[1]')$'
end

complete -c shardctl -f

complete -c shardctl -n __shardctl_needs_command -l version -d 'Print the version'
complete -c shardctl -n __shardctl_needs_command -s h -d 'Show the main options'
complete -c shardctl -n __shardctl_needs_command -l help -d 'Show all options with their details'
complete -c shardctl -n __shardctl_needs_command -l debug -d 'Show the traceback of an error'
complete -c shardctl -n __shardctl_needs_command -a split -d 'Divide a checkpoint into shards of limited size, with an index.'
complete -c shardctl -n __shardctl_needs_command -a merge -d 'Join the shards of a checkpoint into one file.'
complete -c shardctl -n __shardctl_needs_command -a reshard -d 'Change a checkpoint\'s shards, its format, or both.'
complete -c shardctl -n __shardctl_needs_command -a apply -d 'Write what a saved plan says, on any machine.'
complete -c shardctl -n __shardctl_needs_command -a inspect -d 'Show what a checkpoint holds, from its headers: files, dtypes, layers, tensors.'
complete -c shardctl -n __shardctl_needs_command -a diff -d 'Show what differs between two checkpoints, byte for byte; exit with 1 if anything does.'
complete -c shardctl -n __shardctl_needs_command -a verify -d 'Check a checkpoint: headers, index, checksums, or against another one.'
complete -c shardctl -n __shardctl_needs_command -a index -d 'Write or repair the index, from the headers of the shards.'
complete -c shardctl -n __shardctl_needs_command -a completion -d 'Print the completion script for a shell.'
complete -c shardctl -n __shardctl_needs_command -a help -d 'Show the help of a command'
complete -c shardctl -n '__shardctl_at help 0' -a 'split merge reshard apply inspect diff verify index completion'

complete -c shardctl -n '__shardctl_at split 0' -a '(__shardctl_paths "\.(?:safetensors|bin|pt|pth|ckpt|distcp|index\.json|index\.[^.]+\.json)")'
complete -c shardctl -n '__shardctl_at split 1' -a '(__shardctl_paths "/")'
complete -c shardctl -n '__shardctl_free split --max-shard-size --num-shards' -l max-shard-size -x -a '200MB 500MB 1GB 2GB 5GB 10GB 50GB' -d 'Maximum size of the tensors in a shard, e.g. 2GB'
complete -c shardctl -n '__shardctl_free split --max-shard-size --num-shards' -l num-shards -x -d 'Write exactly N shards of about equal size'
complete -c shardctl -n '__shardctl_free split --to' -l to -x -a 'safetensors bin dcp' -d 'Output format'
complete -c shardctl -n '__shardctl_free split --strict-size' -l strict-size -d 'Limit the size of the whole file, header included'
complete -c shardctl -n '__shardctl_free split --include' -l include -x -d 'Take only tensors whose names match; repeatable'
complete -c shardctl -n '__shardctl_free split --exclude' -l exclude -x -d 'Leave out tensors whose names match; repeatable'
complete -c shardctl -n '__shardctl_free split --strip-prefix' -l strip-prefix -x -d 'Remove a prefix from the names, e.g. \'module.\''
complete -c shardctl -n '__shardctl_free split --add-prefix' -l add-prefix -x -d 'Put a prefix before every name, e.g. \'model.\''
complete -c shardctl -n '__shardctl_free split --rename' -l rename -x -d 'Replace every match in the names; repeatable'
complete -c shardctl -n '__shardctl_free split --order' -l order -x -a 'source natural' -d 'Order in which tensors are packed'
complete -c shardctl -n '__shardctl_free split --group-by' -l group-by -x -d 'Never divide a layer, or an expert, between shards'
complete -c shardctl -n '__shardctl_free split --experts' -l experts -x -a 'stack split' -d 'Stack the experts of each layer into one tensor, or split them'
complete -c shardctl -n '__shardctl_free split --experts-map' -l experts-map -x -a '(__shardctl_paths "\.(?:html|svg)")' -d 'Names of stacked tensors and of their parts, for other models'
complete -c shardctl -n '__shardctl_free split --dtype' -l dtype -x -d 'Convert floating-point tensors, e.g. to bf16'
complete -c shardctl -n '__shardctl_free split --keep-dtype' -l keep-dtype -x -d 'Do not convert tensors whose names match; repeatable'
complete -c shardctl -n '__shardctl_free split --tied' -l tied -x -a 'share expand' -d 'Keep tied tensors shared, or write a copy for each name'
complete -c shardctl -n '__shardctl_free split --key' -l key -x -d 'Use the state dict at this key, e.g. state_dict or model.ema'
complete -c shardctl -n '__shardctl_free split --drop-non-tensors' -l drop-non-tensors -d 'Leave out entries that are not tensors'
complete -c shardctl -n '__shardctl_free split --layout' -l layout -x -a 'auto compact reflink' -d 'Layout of the bytes in the files'
complete -c shardctl -n '__shardctl_free split --name' -l name -x -a 'adapter_model consolidated diffusion_pytorch_model model pytorch_lora_weights pytorch_model pytorch_model_fsdp' -d 'Base name of the output files, e.g. model'
complete -c shardctl -n '__shardctl_free split --variant' -l variant -x -d 'Variant in the names of the output files, e.g. fp16'
complete -c shardctl -n '__shardctl_free split --companions' -l companions -x -a 'auto all none' -d 'Which other files of SOURCE are copied'
complete -c shardctl -n '__shardctl_free split --no-companions' -l no-companions -d 'The same as --companions none'
complete -c shardctl -n '__shardctl_free split --replace' -l replace -d 'Replace the checkpoint of the same name'
complete -c shardctl -n '__shardctl_free split --replace-companions' -l replace-companions -d 'Replace companion files that differ in TARGET'
complete -c shardctl -n '__shardctl_free split --replace-all' -l replace-all -d 'Replace every checkpoint in TARGET'
complete -c shardctl -n '__shardctl_free split --verify' -l verify -d 'Check SOURCE\'s SHA-256, and compare the result with it'
complete -c shardctl -n '__shardctl_free split --accept-damage' -l accept-damage -d 'Also write damaged tensors, and files with trailing data'
complete -c shardctl -n '__shardctl_free split --checksums' -l checksums -d 'Also write SHA256SUMS, for sha256sum and verify --deep'
complete -c shardctl -n '__shardctl_free split --restart' -l restart -d 'Discard an unfinished run and start over'
complete -c shardctl -n '__shardctl_free split --record --no-record' -l record -d 'Record this run, so that an up-to-date target is detected'
complete -c shardctl -n '__shardctl_free split --record --no-record' -l no-record -d 'Record this run, so that an up-to-date target is detected'
complete -c shardctl -n '__shardctl_free split -n --dry-run' -s n -l dry-run -d 'Show the plan and write nothing'
complete -c shardctl -n '__shardctl_free split --check' -l check -d 'Write nothing; exit with 1 if anything would change'
complete -c shardctl -n '__shardctl_free split -j --jobs' -s j -l jobs -x -d 'Files to process in parallel'
complete -c shardctl -n '__shardctl_free split --scheduler' -l scheduler -x -d 'Write the files on a Dask cluster, e.g. tcp://host:8786'
complete -c shardctl -n '__shardctl_free split --json' -l json -d 'Print one JSON document'
complete -c shardctl -n '__shardctl_free split --report' -l report -x -a '(__shardctl_paths "\.(?:html|svg)")' -d 'Also save a report (.html or .svg)'
complete -c shardctl -n '__shardctl_free split --progress' -l progress -x -a 'auto plain json none' -d 'How progress is shown on stderr'
complete -c shardctl -n '__shardctl_free split -q --quiet' -s q -l quiet -d 'Print only errors'
complete -c shardctl -n '__shardctl_free split -v --verbose' -s v -l verbose -d 'List the files read and written'
complete -c shardctl -n '__shardctl_free split --version' -l version -d 'Print the version'
complete -c shardctl -n '__shardctl_free split -h' -s h -d 'Show the main options'
complete -c shardctl -n '__shardctl_free split --help' -l help -d 'Show all options with their details'
complete -c shardctl -n '__shardctl_free split --debug' -l debug -d 'Show the traceback of an error'

complete -c shardctl -n '__shardctl_at merge 0' -a '(__shardctl_paths "\.(?:safetensors|bin|pt|pth|ckpt|distcp|index\.json|index\.[^.]+\.json)")'
complete -c shardctl -n '__shardctl_at merge 1' -a '(__shardctl_paths "\.(?:safetensors|bin|distcp)")'
complete -c shardctl -n '__shardctl_free merge --to' -l to -x -a 'safetensors bin dcp' -d 'Output format'
complete -c shardctl -n '__shardctl_free merge --include' -l include -x -d 'Take only tensors whose names match; repeatable'
complete -c shardctl -n '__shardctl_free merge --exclude' -l exclude -x -d 'Leave out tensors whose names match; repeatable'
complete -c shardctl -n '__shardctl_free merge --strip-prefix' -l strip-prefix -x -d 'Remove a prefix from the names, e.g. \'module.\''
complete -c shardctl -n '__shardctl_free merge --add-prefix' -l add-prefix -x -d 'Put a prefix before every name, e.g. \'model.\''
complete -c shardctl -n '__shardctl_free merge --rename' -l rename -x -d 'Replace every match in the names; repeatable'
complete -c shardctl -n '__shardctl_free merge --order' -l order -x -a 'source natural' -d 'Order in which tensors are packed'
complete -c shardctl -n '__shardctl_free merge --experts' -l experts -x -a 'stack split' -d 'Stack the experts of each layer into one tensor, or split them'
complete -c shardctl -n '__shardctl_free merge --experts-map' -l experts-map -x -a '(__shardctl_paths "\.(?:html|svg)")' -d 'Names of stacked tensors and of their parts, for other models'
complete -c shardctl -n '__shardctl_free merge --dtype' -l dtype -x -d 'Convert floating-point tensors, e.g. to bf16'
complete -c shardctl -n '__shardctl_free merge --keep-dtype' -l keep-dtype -x -d 'Do not convert tensors whose names match; repeatable'
complete -c shardctl -n '__shardctl_free merge --tied' -l tied -x -a 'share expand' -d 'Keep tied tensors shared, or write a copy for each name'
complete -c shardctl -n '__shardctl_free merge --key' -l key -x -d 'Use the state dict at this key, e.g. state_dict or model.ema'
complete -c shardctl -n '__shardctl_free merge --drop-non-tensors' -l drop-non-tensors -d 'Leave out entries that are not tensors'
complete -c shardctl -n '__shardctl_free merge --layout' -l layout -x -a 'auto compact reflink' -d 'Layout of the bytes in the files'
complete -c shardctl -n '__shardctl_free merge --name' -l name -x -a 'adapter_model consolidated diffusion_pytorch_model model pytorch_lora_weights pytorch_model pytorch_model_fsdp' -d 'Base name of the output files, e.g. model'
complete -c shardctl -n '__shardctl_free merge --variant' -l variant -x -d 'Variant in the names of the output files, e.g. fp16'
complete -c shardctl -n '__shardctl_free merge --companions' -l companions -x -a 'auto all none' -d 'Which other files of SOURCE are copied'
complete -c shardctl -n '__shardctl_free merge --no-companions' -l no-companions -d 'The same as --companions none'
complete -c shardctl -n '__shardctl_free merge --replace' -l replace -d 'Replace the checkpoint of the same name'
complete -c shardctl -n '__shardctl_free merge --replace-companions' -l replace-companions -d 'Replace companion files that differ in TARGET'
complete -c shardctl -n '__shardctl_free merge --replace-all' -l replace-all -d 'Replace every checkpoint in TARGET'
complete -c shardctl -n '__shardctl_free merge --verify' -l verify -d 'Check SOURCE\'s SHA-256, and compare the result with it'
complete -c shardctl -n '__shardctl_free merge --accept-damage' -l accept-damage -d 'Also write damaged tensors, and files with trailing data'
complete -c shardctl -n '__shardctl_free merge --checksums' -l checksums -d 'Also write SHA256SUMS, for sha256sum and verify --deep'
complete -c shardctl -n '__shardctl_free merge --restart' -l restart -d 'Discard an unfinished run and start over'
complete -c shardctl -n '__shardctl_free merge --record --no-record' -l record -d 'Record this run, so that an up-to-date target is detected'
complete -c shardctl -n '__shardctl_free merge --record --no-record' -l no-record -d 'Record this run, so that an up-to-date target is detected'
complete -c shardctl -n '__shardctl_free merge -n --dry-run' -s n -l dry-run -d 'Show the plan and write nothing'
complete -c shardctl -n '__shardctl_free merge --check' -l check -d 'Write nothing; exit with 1 if anything would change'
complete -c shardctl -n '__shardctl_free merge -j --jobs' -s j -l jobs -x -d 'Files to process in parallel'
complete -c shardctl -n '__shardctl_free merge --scheduler' -l scheduler -x -d 'Write the files on a Dask cluster, e.g. tcp://host:8786'
complete -c shardctl -n '__shardctl_free merge --json' -l json -d 'Print one JSON document'
complete -c shardctl -n '__shardctl_free merge --report' -l report -x -a '(__shardctl_paths "\.(?:html|svg)")' -d 'Also save a report (.html or .svg)'
complete -c shardctl -n '__shardctl_free merge --progress' -l progress -x -a 'auto plain json none' -d 'How progress is shown on stderr'
complete -c shardctl -n '__shardctl_free merge -q --quiet' -s q -l quiet -d 'Print only errors'
complete -c shardctl -n '__shardctl_free merge -v --verbose' -s v -l verbose -d 'List the files read and written'
complete -c shardctl -n '__shardctl_free merge --version' -l version -d 'Print the version'
complete -c shardctl -n '__shardctl_free merge -h' -s h -d 'Show the main options'
complete -c shardctl -n '__shardctl_free merge --help' -l help -d 'Show all options with their details'
complete -c shardctl -n '__shardctl_free merge --debug' -l debug -d 'Show the traceback of an error'

complete -c shardctl -n '__shardctl_at reshard 0' -a '(__shardctl_paths "\.(?:safetensors|bin|pt|pth|ckpt|distcp|index\.json|index\.[^.]+\.json)")'
complete -c shardctl -n '__shardctl_at reshard 1' -a '(__shardctl_paths "\.(?:safetensors|bin|distcp)")'
complete -c shardctl -n '__shardctl_free reshard --max-shard-size --num-shards --single' -l max-shard-size -x -a '200MB 500MB 1GB 2GB 5GB 10GB 50GB' -d 'Maximum size of the tensors in a shard, e.g. 2GB'
complete -c shardctl -n '__shardctl_free reshard --max-shard-size --num-shards --single' -l num-shards -x -d 'Write exactly N shards of about equal size'
complete -c shardctl -n '__shardctl_free reshard --max-shard-size --num-shards --single' -l single -d 'Write a single file'
complete -c shardctl -n '__shardctl_free reshard --to' -l to -x -a 'safetensors bin dcp' -d 'Output format'
complete -c shardctl -n '__shardctl_free reshard --strict-size' -l strict-size -d 'Limit the size of the whole file, header included'
complete -c shardctl -n '__shardctl_free reshard --include' -l include -x -d 'Take only tensors whose names match; repeatable'
complete -c shardctl -n '__shardctl_free reshard --exclude' -l exclude -x -d 'Leave out tensors whose names match; repeatable'
complete -c shardctl -n '__shardctl_free reshard --strip-prefix' -l strip-prefix -x -d 'Remove a prefix from the names, e.g. \'module.\''
complete -c shardctl -n '__shardctl_free reshard --add-prefix' -l add-prefix -x -d 'Put a prefix before every name, e.g. \'model.\''
complete -c shardctl -n '__shardctl_free reshard --rename' -l rename -x -d 'Replace every match in the names; repeatable'
complete -c shardctl -n '__shardctl_free reshard --order' -l order -x -a 'source natural' -d 'Order in which tensors are packed'
complete -c shardctl -n '__shardctl_free reshard --group-by' -l group-by -x -d 'Never divide a layer, or an expert, between shards'
complete -c shardctl -n '__shardctl_free reshard --experts' -l experts -x -a 'stack split' -d 'Stack the experts of each layer into one tensor, or split them'
complete -c shardctl -n '__shardctl_free reshard --experts-map' -l experts-map -x -a '(__shardctl_paths "\.(?:html|svg)")' -d 'Names of stacked tensors and of their parts, for other models'
complete -c shardctl -n '__shardctl_free reshard --dtype' -l dtype -x -d 'Convert floating-point tensors, e.g. to bf16'
complete -c shardctl -n '__shardctl_free reshard --keep-dtype' -l keep-dtype -x -d 'Do not convert tensors whose names match; repeatable'
complete -c shardctl -n '__shardctl_free reshard --tied' -l tied -x -a 'share expand' -d 'Keep tied tensors shared, or write a copy for each name'
complete -c shardctl -n '__shardctl_free reshard --key' -l key -x -d 'Use the state dict at this key, e.g. state_dict or model.ema'
complete -c shardctl -n '__shardctl_free reshard --drop-non-tensors' -l drop-non-tensors -d 'Leave out entries that are not tensors'
complete -c shardctl -n '__shardctl_free reshard --layout' -l layout -x -a 'auto compact reflink' -d 'Layout of the bytes in the files'
complete -c shardctl -n '__shardctl_free reshard --name' -l name -x -a 'adapter_model consolidated diffusion_pytorch_model model pytorch_lora_weights pytorch_model pytorch_model_fsdp' -d 'Base name of the output files, e.g. model'
complete -c shardctl -n '__shardctl_free reshard --variant' -l variant -x -d 'Variant in the names of the output files, e.g. fp16'
complete -c shardctl -n '__shardctl_free reshard --companions' -l companions -x -a 'auto all none' -d 'Which other files of SOURCE are copied'
complete -c shardctl -n '__shardctl_free reshard --no-companions' -l no-companions -d 'The same as --companions none'
complete -c shardctl -n '__shardctl_free reshard --replace' -l replace -d 'Replace the checkpoint of the same name'
complete -c shardctl -n '__shardctl_free reshard --replace-companions' -l replace-companions -d 'Replace companion files that differ in TARGET'
complete -c shardctl -n '__shardctl_free reshard --replace-all' -l replace-all -d 'Replace every checkpoint in TARGET'
complete -c shardctl -n '__shardctl_free reshard --verify' -l verify -d 'Check SOURCE\'s SHA-256, and compare the result with it'
complete -c shardctl -n '__shardctl_free reshard --accept-damage' -l accept-damage -d 'Also write damaged tensors, and files with trailing data'
complete -c shardctl -n '__shardctl_free reshard --checksums' -l checksums -d 'Also write SHA256SUMS, for sha256sum and verify --deep'
complete -c shardctl -n '__shardctl_free reshard --restart' -l restart -d 'Discard an unfinished run and start over'
complete -c shardctl -n '__shardctl_free reshard --record --no-record' -l record -d 'Record this run, so that an up-to-date target is detected'
complete -c shardctl -n '__shardctl_free reshard --record --no-record' -l no-record -d 'Record this run, so that an up-to-date target is detected'
complete -c shardctl -n '__shardctl_free reshard -n --dry-run' -s n -l dry-run -d 'Show the plan and write nothing'
complete -c shardctl -n '__shardctl_free reshard --check' -l check -d 'Write nothing; exit with 1 if anything would change'
complete -c shardctl -n '__shardctl_free reshard -j --jobs' -s j -l jobs -x -d 'Files to process in parallel'
complete -c shardctl -n '__shardctl_free reshard --scheduler' -l scheduler -x -d 'Write the files on a Dask cluster, e.g. tcp://host:8786'
complete -c shardctl -n '__shardctl_free reshard --json' -l json -d 'Print one JSON document'
complete -c shardctl -n '__shardctl_free reshard --report' -l report -x -a '(__shardctl_paths "\.(?:html|svg)")' -d 'Also save a report (.html or .svg)'
complete -c shardctl -n '__shardctl_free reshard --progress' -l progress -x -a 'auto plain json none' -d 'How progress is shown on stderr'
complete -c shardctl -n '__shardctl_free reshard -q --quiet' -s q -l quiet -d 'Print only errors'
complete -c shardctl -n '__shardctl_free reshard -v --verbose' -s v -l verbose -d 'List the files read and written'
complete -c shardctl -n '__shardctl_free reshard --version' -l version -d 'Print the version'
complete -c shardctl -n '__shardctl_free reshard -h' -s h -d 'Show the main options'
complete -c shardctl -n '__shardctl_free reshard --help' -l help -d 'Show all options with their details'
complete -c shardctl -n '__shardctl_free reshard --debug' -l debug -d 'Show the traceback of an error'

complete -c shardctl -n '__shardctl_at apply 0' -a '(__shardctl_paths "\.json")'
complete -c shardctl -n '__shardctl_free apply --source' -l source -x -a '(__shardctl_paths "\.(?:safetensors|bin|pt|pth|ckpt|distcp|index\.json|index\.[^.]+\.json)")' -d 'Where the source of the plan is'
complete -c shardctl -n '__shardctl_free apply --target' -l target -x -a '(__shardctl_paths "\.(?:safetensors|bin|distcp)")' -d 'Where to write'
complete -c shardctl -n '__shardctl_free apply --part' -l part -x -d 'Write the I-th of N parts of the shards, e.g. 2/8'
complete -c shardctl -n '__shardctl_free apply --commit' -l commit -d 'Finish a run by parts: check every shard, write the index last'
complete -c shardctl -n '__shardctl_free apply --replace' -l replace -d 'Replace the checkpoint of the same name'
complete -c shardctl -n '__shardctl_free apply --replace-companions' -l replace-companions -d 'Replace companion files that differ in TARGET'
complete -c shardctl -n '__shardctl_free apply --replace-all' -l replace-all -d 'Replace every checkpoint in TARGET'
complete -c shardctl -n '__shardctl_free apply --restart' -l restart -d 'Discard an unfinished run and start over'
complete -c shardctl -n '__shardctl_free apply --record --no-record' -l record -d 'Record this run, so that an up-to-date target is detected'
complete -c shardctl -n '__shardctl_free apply --record --no-record' -l no-record -d 'Record this run, so that an up-to-date target is detected'
complete -c shardctl -n '__shardctl_free apply -j --jobs' -s j -l jobs -x -d 'Files to process in parallel'
complete -c shardctl -n '__shardctl_free apply --json' -l json -d 'Print one JSON document'
complete -c shardctl -n '__shardctl_free apply --report' -l report -x -a '(__shardctl_paths "\.(?:html|svg)")' -d 'Also save a report (.html or .svg)'
complete -c shardctl -n '__shardctl_free apply --progress' -l progress -x -a 'auto plain json none' -d 'How progress is shown on stderr'
complete -c shardctl -n '__shardctl_free apply -q --quiet' -s q -l quiet -d 'Print only errors'
complete -c shardctl -n '__shardctl_free apply -v --verbose' -s v -l verbose -d 'List the files read and written'
complete -c shardctl -n '__shardctl_free apply --version' -l version -d 'Print the version'
complete -c shardctl -n '__shardctl_free apply -h' -s h -d 'Show the main options'
complete -c shardctl -n '__shardctl_free apply --help' -l help -d 'Show all options with their details'
complete -c shardctl -n '__shardctl_free apply --debug' -l debug -d 'Show the traceback of an error'

complete -c shardctl -n '__shardctl_at inspect 0' -a '(__shardctl_paths "\.(?:safetensors|bin|pt|pth|ckpt|distcp|index\.json|index\.[^.]+\.json)")'
complete -c shardctl -n '__shardctl_free inspect --depth' -l depth -x -d 'Levels of the layer tree, on a terminal'
complete -c shardctl -n '__shardctl_free inspect --top' -l top -x -d 'List the N largest tensors'
complete -c shardctl -n '__shardctl_free inspect --filter' -l filter -x -d 'Only tensors whose whole names match, e.g. \'*.bias\''
complete -c shardctl -n '__shardctl_free inspect --stats' -l stats -d 'Also sum up the numbers: least, largest, mean, NaN'
complete -c shardctl -n '__shardctl_free inspect --key' -l key -x -d 'Use the state dict at this key, e.g. state_dict or model.ema'
complete -c shardctl -n '__shardctl_free inspect --variant' -l variant -x -d 'Read this variant in a directory, e.g. fp16'
complete -c shardctl -n '__shardctl_free inspect --json' -l json -d 'Print one JSON document'
complete -c shardctl -n '__shardctl_free inspect --progress' -l progress -x -a 'auto plain json none' -d 'How progress is shown on stderr'
complete -c shardctl -n '__shardctl_free inspect --report' -l report -x -a '(__shardctl_paths "\.(?:html|svg)")' -d 'Also save a report (.html or .svg)'
complete -c shardctl -n '__shardctl_free inspect -j --jobs' -s j -l jobs -x -d 'Files to process in parallel'
complete -c shardctl -n '__shardctl_free inspect -q --quiet' -s q -l quiet -d 'Print only errors'
complete -c shardctl -n '__shardctl_free inspect -v --verbose' -s v -l verbose -d 'List the files read and written'
complete -c shardctl -n '__shardctl_free inspect --version' -l version -d 'Print the version'
complete -c shardctl -n '__shardctl_free inspect -h' -s h -d 'Show the main options'
complete -c shardctl -n '__shardctl_free inspect --help' -l help -d 'Show all options with their details'
complete -c shardctl -n '__shardctl_free inspect --debug' -l debug -d 'Show the traceback of an error'

complete -c shardctl -n '__shardctl_at diff 0' -a '(__shardctl_paths "\.(?:safetensors|bin|pt|pth|ckpt|distcp|index\.json|index\.[^.]+\.json)")'
complete -c shardctl -n '__shardctl_at diff 1' -a '(__shardctl_paths "\.(?:safetensors|bin|pt|pth|ckpt|distcp|index\.json|index\.[^.]+\.json)")'
complete -c shardctl -n '__shardctl_free diff --stats' -l stats -d 'Also say how far apart the numbers are'
complete -c shardctl -n '__shardctl_free diff --key' -l key -x -d 'Use the state dict at this key, e.g. state_dict or model.ema'
complete -c shardctl -n '__shardctl_free diff --include' -l include -x -d 'Take only tensors whose names match; repeatable'
complete -c shardctl -n '__shardctl_free diff --exclude' -l exclude -x -d 'Leave out tensors whose names match; repeatable'
complete -c shardctl -n '__shardctl_free diff --strip-prefix' -l strip-prefix -x -d 'Remove a prefix from the names, e.g. \'module.\''
complete -c shardctl -n '__shardctl_free diff --add-prefix' -l add-prefix -x -d 'Put a prefix before every name, e.g. \'model.\''
complete -c shardctl -n '__shardctl_free diff --rename' -l rename -x -d 'Replace every match in the names; repeatable'
complete -c shardctl -n '__shardctl_free diff --experts' -l experts -x -a 'stack split' -d 'Stack the experts of each layer into one tensor, or split them'
complete -c shardctl -n '__shardctl_free diff --experts-map' -l experts-map -x -a '(__shardctl_paths "\.(?:html|svg)")' -d 'Names of stacked tensors and of their parts, for other models'
complete -c shardctl -n '__shardctl_free diff --dtype' -l dtype -x -d 'Convert floating-point tensors, e.g. to bf16'
complete -c shardctl -n '__shardctl_free diff --keep-dtype' -l keep-dtype -x -d 'Do not convert tensors whose names match; repeatable'
complete -c shardctl -n '__shardctl_free diff --json' -l json -d 'Print one JSON document'
complete -c shardctl -n '__shardctl_free diff --progress' -l progress -x -a 'auto plain json none' -d 'How progress is shown on stderr'
complete -c shardctl -n '__shardctl_free diff -j --jobs' -s j -l jobs -x -d 'Files to process in parallel'
complete -c shardctl -n '__shardctl_free diff -q --quiet' -s q -l quiet -d 'Print only errors'
complete -c shardctl -n '__shardctl_free diff -v --verbose' -s v -l verbose -d 'List the files read and written'
complete -c shardctl -n '__shardctl_free diff --version' -l version -d 'Print the version'
complete -c shardctl -n '__shardctl_free diff -h' -s h -d 'Show the main options'
complete -c shardctl -n '__shardctl_free diff --help' -l help -d 'Show all options with their details'
complete -c shardctl -n '__shardctl_free diff --debug' -l debug -d 'Show the traceback of an error'

complete -c shardctl -n '__shardctl_at verify 0' -a '(__shardctl_paths "\.(?:safetensors|bin|pt|pth|ckpt|distcp|index\.json|index\.[^.]+\.json)")'
complete -c shardctl -n '__shardctl_free verify --deep' -l deep -d 'Read all bytes and compare checksums'
complete -c shardctl -n '__shardctl_free verify --load' -l load -d 'Also load with torch and safetensors'
complete -c shardctl -n '__shardctl_free verify --against' -l against -x -a '(__shardctl_paths "\.(?:safetensors|bin|pt|pth|ckpt|distcp|index\.json|index\.[^.]+\.json)")' -d 'Compare with another checkpoint'
complete -c shardctl -n '__shardctl_free verify --include' -l include -x -d 'Take only tensors whose names match; repeatable'
complete -c shardctl -n '__shardctl_free verify --exclude' -l exclude -x -d 'Leave out tensors whose names match; repeatable'
complete -c shardctl -n '__shardctl_free verify --strip-prefix' -l strip-prefix -x -d 'Remove a prefix from the names, e.g. \'module.\''
complete -c shardctl -n '__shardctl_free verify --add-prefix' -l add-prefix -x -d 'Put a prefix before every name, e.g. \'model.\''
complete -c shardctl -n '__shardctl_free verify --rename' -l rename -x -d 'Replace every match in the names; repeatable'
complete -c shardctl -n '__shardctl_free verify --experts' -l experts -x -a 'stack split' -d 'Stack the experts of each layer into one tensor, or split them'
complete -c shardctl -n '__shardctl_free verify --experts-map' -l experts-map -x -a '(__shardctl_paths "\.(?:html|svg)")' -d 'Names of stacked tensors and of their parts, for other models'
complete -c shardctl -n '__shardctl_free verify --dtype' -l dtype -x -d 'Convert floating-point tensors, e.g. to bf16'
complete -c shardctl -n '__shardctl_free verify --keep-dtype' -l keep-dtype -x -d 'Do not convert tensors whose names match; repeatable'
complete -c shardctl -n '__shardctl_free verify --strict' -l strict -d 'Count warnings as errors'
complete -c shardctl -n '__shardctl_free verify --key' -l key -x -d 'Use the state dict at this key, e.g. state_dict or model.ema'
complete -c shardctl -n '__shardctl_free verify --variant' -l variant -x -d 'Read this variant in a directory, e.g. fp16'
complete -c shardctl -n '__shardctl_free verify --json' -l json -d 'Print one JSON document'
complete -c shardctl -n '__shardctl_free verify --progress' -l progress -x -a 'auto plain json none' -d 'How progress is shown on stderr'
complete -c shardctl -n '__shardctl_free verify --report' -l report -x -a '(__shardctl_paths "\.(?:html|svg)")' -d 'Also save a report (.html or .svg)'
complete -c shardctl -n '__shardctl_free verify -j --jobs' -s j -l jobs -x -d 'Files to process in parallel'
complete -c shardctl -n '__shardctl_free verify -q --quiet' -s q -l quiet -d 'Print only errors'
complete -c shardctl -n '__shardctl_free verify -v --verbose' -s v -l verbose -d 'List the files read and written'
complete -c shardctl -n '__shardctl_free verify --version' -l version -d 'Print the version'
complete -c shardctl -n '__shardctl_free verify -h' -s h -d 'Show the main options'
complete -c shardctl -n '__shardctl_free verify --help' -l help -d 'Show all options with their details'
complete -c shardctl -n '__shardctl_free verify --debug' -l debug -d 'Show the traceback of an error'

complete -c shardctl -n '__shardctl_at index 0' -a '(__shardctl_paths "\.(?:safetensors|bin|pt|pth|ckpt|distcp|index\.json|index\.[^.]+\.json)")'
complete -c shardctl -n '__shardctl_free index --check' -l check -d 'Write nothing; exit with 1 if the index is wrong'
complete -c shardctl -n '__shardctl_free index --variant' -l variant -x -d 'Read this variant in a directory, e.g. fp16'
complete -c shardctl -n '__shardctl_free index --json' -l json -d 'Print one JSON document'
complete -c shardctl -n '__shardctl_free index --progress' -l progress -x -a 'auto plain json none' -d 'How progress is shown on stderr'
complete -c shardctl -n '__shardctl_free index -q --quiet' -s q -l quiet -d 'Print only errors'
complete -c shardctl -n '__shardctl_free index -v --verbose' -s v -l verbose -d 'List the files read and written'
complete -c shardctl -n '__shardctl_free index --version' -l version -d 'Print the version'
complete -c shardctl -n '__shardctl_free index -h' -s h -d 'Show the main options'
complete -c shardctl -n '__shardctl_free index --help' -l help -d 'Show all options with their details'
complete -c shardctl -n '__shardctl_free index --debug' -l debug -d 'Show the traceback of an error'

complete -c shardctl -n '__shardctl_at completion 0' -a 'bash zsh fish'
complete -c shardctl -n '__shardctl_free completion --version' -l version -d 'Print the version'
complete -c shardctl -n '__shardctl_free completion -h' -s h -d 'Show the main options'
complete -c shardctl -n '__shardctl_free completion --help' -l help -d 'Show all options with their details'
complete -c shardctl -n '__shardctl_free completion --debug' -l debug -d 'Show the traceback of an error'
