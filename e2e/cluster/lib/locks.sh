# shellcheck shell=bash
# Two locks: one that a whole test run holds, and one for the seconds in which
# a command changes the cluster, so that a run that holds the first can call
# commands that take the second. Both files outlive `down`: unlinking a file
# that somebody waits on would let two in at once.

# run_locked -- COMMAND... runs a command as the only user of the cluster.
run_locked() {
	[ "${1:-}" != -- ] || shift
	[ $# -gt 0 ] || die "usage: cluster lock -- COMMAND..."
	# A run that holds the lock may call what takes it.
	if [ "${EVENKEEL_LOCK_HELD:-}" = "$STATE" ]; then
		exec "$@"
	fi
	mkdir -p "$STATE/locks"
	local file=$STATE/locks/run status=0 waited
	exec 9<>"$file"
	if ! flock -n 9; then
		say "the cluster in $STATE is in use by $(holder "$file"); waiting"
		waited=$SECONDS
		until flock -w 60 9; do
			say "still waiting after $(((SECONDS - waited) / 60)) min for $(holder "$file")"
		done
	fi
	printf 'process %s in %s since %s\n' "$$" "$(cd "$CLUSTER_DIR/../.." && pwd -P)" "$(date '+%H:%M:%S')" >"$file"
	# A signal to this shell alone waits until the command is over: the lock is
	# held for as long as it runs. Ctrl-C reaches both.
	trap 'status=143' TERM HUP
	EVENKEEL_LOCK_HELD=$STATE "$@" 9>&- || status=$?
	: >"$file"
	exit "$status"
}

holder() {
	local line
	line=$(head -n 1 "$1" 2>/dev/null)
	echo "${line:-another run}"
}

# serialized COMMAND... runs a function while no other command changes the cluster.
serialized() {
	mkdir -p "$STATE/locks"
	exec 7<>"$STATE/locks/change"
	if ! flock -n 7; then
		say "another command is changing the cluster in $STATE; waiting"
		flock -w 3600 7 || die "the other command did not end within an hour"
	fi
	"$@"
}
