# SPDX-License-Identifier: GPL-2.0-or-later
# bash completion for abyme: the program itself knows the words.
_abyme() {
	local cur=${COMP_WORDS[COMP_CWORD]}
	local words
	words=$("${COMP_WORDS[0]}" completion "${COMP_WORDS[@]:1:COMP_CWORD-1}" 2>/dev/null) || return
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
	[ ${#COMPREPLY[@]} -gt 0 ] || compopt -o default
}
complete -F _abyme abyme
