# bash completion for shardctl. Written by `make generate` from the command line itself.

__shardctl_commands() {
    echo 'split merge reshard apply inspect diff verify index completion help'
}

__shardctl_options() {
    case $1 in
        split) echo '--max-shard-size|max_shard_size|=200MB 500MB 1GB 2GB 5GB 10GB 50GB
--num-shards|max_shard_size|typed
--to|to|=safetensors bin dcp
--strict-size|strict_size|
--include|include|typed
--exclude|exclude|typed
--strip-prefix|strip_prefix|typed
--add-prefix|add_prefix|typed
--rename|rename|typed
--order|order|=source natural
--group-by|group_by|typed
--experts|experts|=stack split
--experts-map|experts_map|report
--dtype|dtype|typed
--keep-dtype|keep_dtype|typed
--tied|tied|=share expand
--key|key|typed
--drop-non-tensors|drop_non_tensors|
--layout|layout|=auto compact reflink
--name|name|=adapter_model consolidated diffusion_pytorch_model model pytorch_lora_weights pytorch_model pytorch_model_fsdp
--variant|variant|typed
--companions|companions|=auto all none
--no-companions|no_companions|
--replace|replace|
--replace-companions|replace_companions|
--replace-all|replace_all|
--verify|verify|
--accept-damage|accept_damage|
--checksums|checksums|
--restart|restart|
--record --no-record|record|
-n --dry-run|dry_run|
--check|check|
-j --jobs|jobs|typed
--scheduler|scheduler|typed
--json|json|
--report|report|report
--progress|progress|=auto plain json none
-q --quiet|quiet|
-v --verbose|verbose|
--version|version|
-h|short_help|
--help|help|
--debug|debug|' ;;
        merge) echo '--to|to|=safetensors bin dcp
--include|include|typed
--exclude|exclude|typed
--strip-prefix|strip_prefix|typed
--add-prefix|add_prefix|typed
--rename|rename|typed
--order|order|=source natural
--experts|experts|=stack split
--experts-map|experts_map|report
--dtype|dtype|typed
--keep-dtype|keep_dtype|typed
--tied|tied|=share expand
--key|key|typed
--drop-non-tensors|drop_non_tensors|
--layout|layout|=auto compact reflink
--name|name|=adapter_model consolidated diffusion_pytorch_model model pytorch_lora_weights pytorch_model pytorch_model_fsdp
--variant|variant|typed
--companions|companions|=auto all none
--no-companions|no_companions|
--replace|replace|
--replace-companions|replace_companions|
--replace-all|replace_all|
--verify|verify|
--accept-damage|accept_damage|
--checksums|checksums|
--restart|restart|
--record --no-record|record|
-n --dry-run|dry_run|
--check|check|
-j --jobs|jobs|typed
--scheduler|scheduler|typed
--json|json|
--report|report|report
--progress|progress|=auto plain json none
-q --quiet|quiet|
-v --verbose|verbose|
--version|version|
-h|short_help|
--help|help|
--debug|debug|' ;;
        reshard) echo '--max-shard-size|max_shard_size|=200MB 500MB 1GB 2GB 5GB 10GB 50GB
--num-shards|max_shard_size|typed
--single|max_shard_size|
--to|to|=safetensors bin dcp
--strict-size|strict_size|
--include|include|typed
--exclude|exclude|typed
--strip-prefix|strip_prefix|typed
--add-prefix|add_prefix|typed
--rename|rename|typed
--order|order|=source natural
--group-by|group_by|typed
--experts|experts|=stack split
--experts-map|experts_map|report
--dtype|dtype|typed
--keep-dtype|keep_dtype|typed
--tied|tied|=share expand
--key|key|typed
--drop-non-tensors|drop_non_tensors|
--layout|layout|=auto compact reflink
--name|name|=adapter_model consolidated diffusion_pytorch_model model pytorch_lora_weights pytorch_model pytorch_model_fsdp
--variant|variant|typed
--companions|companions|=auto all none
--no-companions|no_companions|
--replace|replace|
--replace-companions|replace_companions|
--replace-all|replace_all|
--verify|verify|
--accept-damage|accept_damage|
--checksums|checksums|
--restart|restart|
--record --no-record|record|
-n --dry-run|dry_run|
--check|check|
-j --jobs|jobs|typed
--scheduler|scheduler|typed
--json|json|
--report|report|report
--progress|progress|=auto plain json none
-q --quiet|quiet|
-v --verbose|verbose|
--version|version|
-h|short_help|
--help|help|
--debug|debug|' ;;
        apply) echo '--source|source|checkpoint
--target|target|weights
--part|part|typed
--commit|commit|
--replace|replace|
--replace-companions|replace_companions|
--replace-all|replace_all|
--restart|restart|
--record --no-record|record|
-j --jobs|jobs|typed
--json|json|
--report|report|report
--progress|progress|=auto plain json none
-q --quiet|quiet|
-v --verbose|verbose|
--version|version|
-h|short_help|
--help|help|
--debug|debug|' ;;
        inspect) echo '--depth|depth|typed
--top|top|typed
--filter|globs|typed
--stats|stats|
--key|key|typed
--variant|variant|typed
--json|json|
--progress|progress|=auto plain json none
--report|report|report
-j --jobs|jobs|typed
-q --quiet|quiet|
-v --verbose|verbose|
--version|version|
-h|short_help|
--help|help|
--debug|debug|' ;;
        diff) echo '--stats|stats|
--key|key|typed
--include|include|typed
--exclude|exclude|typed
--strip-prefix|strip_prefix|typed
--add-prefix|add_prefix|typed
--rename|rename|typed
--experts|experts|=stack split
--experts-map|experts_map|report
--dtype|dtype|typed
--keep-dtype|keep_dtype|typed
--json|json|
--progress|progress|=auto plain json none
-j --jobs|jobs|typed
-q --quiet|quiet|
-v --verbose|verbose|
--version|version|
-h|short_help|
--help|help|
--debug|debug|' ;;
        verify) echo '--deep|deep|
--load|load|
--against|against|checkpoint
--include|include|typed
--exclude|exclude|typed
--strip-prefix|strip_prefix|typed
--add-prefix|add_prefix|typed
--rename|rename|typed
--experts|experts|=stack split
--experts-map|experts_map|report
--dtype|dtype|typed
--keep-dtype|keep_dtype|typed
--strict|strict|
--key|key|typed
--variant|variant|typed
--json|json|
--progress|progress|=auto plain json none
--report|report|report
-j --jobs|jobs|typed
-q --quiet|quiet|
-v --verbose|verbose|
--version|version|
-h|short_help|
--help|help|
--debug|debug|' ;;
        index) echo '--check|check|
--variant|variant|typed
--json|json|
--progress|progress|=auto plain json none
-q --quiet|quiet|
-v --verbose|verbose|
--version|version|
-h|short_help|
--help|help|
--debug|debug|' ;;
        completion) echo '--version|version|
-h|short_help|
--help|help|
--debug|debug|' ;;
        *) echo '--version|version|
-h|short_help|
--help|help|
--debug|debug|' ;;
    esac
}

# Print the kind of argument number $2, counted from 0, of the command $1.
__shardctl_argument() {
    case $1:$2 in
        split:0) echo 'checkpoint' ;;
        split:1) echo 'directory' ;;
        merge:0) echo 'checkpoint' ;;
        merge:1) echo 'weights' ;;
        reshard:0) echo 'checkpoint' ;;
        reshard:1) echo 'weights' ;;
        apply:0) echo 'plan' ;;
        inspect:0) echo 'checkpoint' ;;
        diff:0) echo 'checkpoint' ;;
        diff:1) echo 'checkpoint' ;;
        verify:0) echo 'checkpoint' ;;
        index:0) echo 'checkpoint' ;;
        completion:0) echo '=bash zsh fish' ;;
        help:0) echo '=split merge reshard apply inspect diff verify index completion' ;;
    esac
}

__shardctl_is_checkpoint() {
    case $1 in
        *.safetensors | *.bin | *.pt | *.pth | *.ckpt | *.distcp | *.index.json | *.index.*.json) return 0 ;;
    esac
    return 1
}

__shardctl_is_weights() {
    case $1 in
        *.safetensors | *.bin | *.distcp) return 0 ;;
    esac
    return 1
}

__shardctl_is_report() {
    case $1 in
        *.html | *.svg) return 0 ;;
    esac
    return 1
}

__shardctl_is_plan() {
    case $1 in
        *.json) return 0 ;;
    esac
    return 1
}

# Paths that begin with $1: directories, and files for which the command $2 succeeds.
__shardctl_paths() {
    local typed=$1 path
    # What readline hands over is still quoted.
    typed=${typed#[\"\']}
    typed=${typed//\\/}
    compopt -o filenames 2>/dev/null
    while IFS= read -r path; do
        if [[ -d ${path/#\~/$HOME} ]] || "$2" "$path"; then
            COMPREPLY+=("$path")
        fi
    done < <(compgen -f -- "$typed")
}

__shardctl_value() {
    case $1 in
        =*) COMPREPLY=($(compgen -W "${1#=}" -- "$2")) ;;
        checkpoint) __shardctl_paths "$2" __shardctl_is_checkpoint ;;
        weights) __shardctl_paths "$2" __shardctl_is_weights ;;
        directory) __shardctl_paths "$2" false ;;
        report) __shardctl_paths "$2" __shardctl_is_report ;;
        plan) __shardctl_paths "$2" __shardctl_is_plan ;;
    esac
}

_shardctl() {
    local cur=${COMP_WORDS[COMP_CWORD]} command='' given=' ' pending='' count=0 ended='' word i
    local spellings group value
    COMPREPLY=()

    # Read the words before the cursor: the command, the groups that were given, how many
    # arguments, and whether the last word is an option that waits for its value. Bash has cut
    # `--option=value` into three words.
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ -n $pending ]]; then
            [[ $word == '=' ]] || pending=''
        elif [[ -n $ended || $word != -?* ]]; then
            if [[ -z $command ]]; then command=$word; else count=$((count + 1)); fi
        elif [[ $word == -- ]]; then
            ended=1
        else
            while IFS='|' read -r spellings group value; do
                if [[ " $spellings " == *" ${word%%=*} "* ]]; then
                    given+="$group "
                    pending=$value
                fi
            done <<<"$(__shardctl_options "$command")"
        fi
    done

    if [[ -n $pending ]]; then
        [[ $cur == '=' ]] && cur=''
        __shardctl_value "$pending" "$cur"
    elif [[ -z $ended && $cur == -* ]]; then
        while IFS='|' read -r spellings group value; do
            if [[ $given != *" $group "* ]]; then
                COMPREPLY+=($(compgen -W "$spellings" -- "$cur"))
            fi
        done <<<"$(__shardctl_options "$command")"
    elif [[ -z $command ]]; then
        COMPREPLY=($(compgen -W "$(__shardctl_commands)" -- "$cur"))
    else
        __shardctl_value "$(__shardctl_argument "$command" "$count")" "$cur"
    fi
}

complete -F _shardctl shardctl
