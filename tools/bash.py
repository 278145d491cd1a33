"""The completion for bash (3.2 and later).

It needs neither the bash-completion package nor a run of shardctl.
"""

from __future__ import annotations

from collections.abc import Iterator

from shardctl.cli.spec import Option
from tools import source, values
from tools.values import Value

_HEAD = """\
# bash completion for shardctl. Written by `make generate` from the command line itself.
"""

# A line of a command's table is `SPELLINGS|GROUP|VALUE`: of a group only one can be given; VALUE is
# empty for a switch, `typed`, the kind of path, or `=` and the words to choose from.
_BODY = """\

# Paths that begin with $1: directories, and files for which the command $2 succeeds.
__shardctl_paths() {
    local typed=$1 path
    # What readline hands over is still quoted.
    typed=${typed#[\\"\\']}
    typed=${typed//\\\\/}
    compopt -o filenames 2>/dev/null
    while IFS= read -r path; do
        if [[ -d ${path/#\\~/$HOME} ]] || "$2" "$path"; then
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
"""


def script() -> str:
    """Return the script for a directory `bash-completion/completions`."""
    return "\n".join((_HEAD, *_tables())) + _BODY


def _tables() -> Iterator[str]:
    root, *commands = source.commands()
    names = " ".join(command.name for command in commands)
    yield f"__shardctl_commands() {{\n    echo '{names} {source.HELP}'\n}}\n"
    yield "__shardctl_options() {\n    case $1 in"
    for command in (*commands, root):
        yield f"        {command.name or '*'}) echo '{_lines(command.options)}' ;;"
    yield "    esac\n}\n"
    yield "# Print the kind of argument number $2, counted from 0, of the command $1."
    yield "__shardctl_argument() {\n    case $1:$2 in"
    for command in commands:
        for number, argument in enumerate(command.arguments):
            offered = _offered(values.of_argument(command, argument))
            yield f"        {command.name}:{number}) echo '{offered}' ;;"
    yield f"        {source.HELP}:0) echo '={names}' ;;"
    yield "    esac\n}\n"
    yield from _test(
        "checkpoint",
        (*(f"*.{suffix}" for suffix in values.SOURCE_SUFFIXES), *values.INDEX_PATTERNS),
    )
    yield from _test("weights", tuple(f"*.{suffix}" for suffix in values.TARGET_SUFFIXES))
    yield from _test("report", tuple(f"*.{suffix}" for suffix in values.REPORT_SUFFIXES))
    yield from _test("plan", (f"*.{values.PLAN_SUFFIX}",))


def _lines(options: tuple[Option, ...]) -> str:
    return "\n".join(
        f"{' '.join(option.spellings)}|{option.group}|{_value(option)}" for option in options
    )


def _value(option: Option) -> str:
    value = values.of_option(option)
    if value is None:
        return ""
    return _offered(value)


def _offered(value: Value) -> str:
    return f"={' '.join(value.words)}" if value.words else value.kind


def _test(name: str, patterns: tuple[str, ...]) -> Iterator[str]:
    yield f"__shardctl_is_{name}() {{\n    case $1 in\n        {' | '.join(patterns)}) return 0 ;;"
    yield "    esac\n    return 1\n}\n"
