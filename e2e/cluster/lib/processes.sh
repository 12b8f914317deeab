# shellcheck shell=bash
# Starting, watching and stopping the parts of the cluster. A part is known by
# its process id together with the time that process started, so that a number
# that the system gave to somebody else is never taken for ours.

PARTS=(etcd kube-apiserver kube-controller-manager kube-scheduler containerd kubelet kube-proxy)

# start_time PID prints when a process started, in ticks since boot; nothing
# when there is no such process or only its zombie.
start_time() {
	local stat fields
	{ stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 0
	# The name in parentheses may hold anything: count from the last one on.
	read -ra fields <<<"${stat##*) }"
	[ "${fields[0]}" = Z ] || echo "${fields[19]}"
}

# part_pid NAME prints the process id of a part that runs, and fails otherwise.
part_pid() {
	local pid started
	read -r pid started 2>/dev/null <"$STATE/run/$1.pid" || return 1
	[ -n "$started" ] && [ "$(start_time "$pid")" = "$started" ] && echo "$pid"
}

part_runs() { part_pid "$1" >/dev/null; }

part_log() { echo "$STATE/log/$1.log"; }

# start_part NAME CONFIG COMMAND... starts a part unless it runs already with the
# same command line and configuration file ("" for none).
start_part() {
	local name=$1 config=$2 pid key
	shift 2
	key=$({
		printf '%s\n' "$@"
		[ -z "$config" ] || cat "$config"
	} | sha256sum)
	if part_runs "$name"; then
		[ "$key" != "$(cat "$STATE/run/$name.key" 2>/dev/null)" ] || return 0
		say "restarting $name, which has another configuration now"
		stop_part "$name" TERM 10
	fi
	need_ports "$name"
	say "starting $name"
	(
		# Nothing of the caller may stay open in a daemon: neither our locks nor
		# a pipe that somebody reads to its end.
		for fd in /proc/self/fd/*; do
			fd=${fd##*/}
			[ "$fd" -le 2 ] || eval "exec $fd>&-"
		done
		cd /
		exec setsid "$@" </dev/null >>"$STATE/log/$name.log" 2>&1
	) &
	pid=$!
	echo "$pid $(start_time "$pid")" >"$STATE/run/$name.pid"
	echo "$key" >"$STATE/run/$name.key"
}

# await_part SECONDS NAME COMMAND... waits until a part answers, and does not
# wait for one that has died.
await_part() {
	local seconds=$1 name=$2
	shift 2
	wait_until "$seconds" "$name is not ready" "$(part_log "$name")" answers_or_dead "$name" "$@"
	if ! part_runs "$name"; then
		say "cluster: $name ended right after its start"
		show_log "$(part_log "$name")"
		exit 1
	fi
}

answers_or_dead() {
	local name=$1
	shift
	! part_runs "$name" || "$@"
}

# stop_part NAME SIGNAL SECONDS sends a signal and, should that not be enough in
# that time, kills.
stop_part() {
	local pid tries=$(($3 * 10))
	pid=$(part_pid "$1") || return 0
	kill "-$2" "$pid" 2>/dev/null || true
	while part_runs "$1" && [ "$tries" -gt 0 ]; do
		sleep 0.1
		tries=$((tries - 1))
	done
	! part_runs "$1" || kill -KILL "$pid" 2>/dev/null || true
	rm -f "$STATE/run/$1.pid"
}

kill_part() {
	local pid
	pid=$(part_pid "$1") || die "$1 does not run; the parts are: ${PARTS[*]}"
	kill -KILL "$pid"
	say "killed $1 ($pid)"
}

# port_user PORT: who listens there.
port_user() {
	ss -Hltnp "sport = :$1" | sed -n 's/.*users:((\("[^)]*\)).*/\1/p; t; s/.*/a process that only root can name/p' | head -n 1
}

# need_ports NAME: a port that somebody else holds is worth a clear word before
# the part fails in its own. A process that has just ended may hold it for a moment.
need_ports() {
	local port ports taken tries
	case $1 in
	etcd) ports="2379 2380" ;;
	kube-apiserver) ports=$API_PORT ;;
	kube-controller-manager) ports=10257 ;;
	kube-scheduler) ports=10259 ;;
	kubelet) ports="10248 10250" ;;
	kube-proxy) ports="10249 10256" ;;
	*) return 0 ;;
	esac
	for port in $ports; do
		tries=30
		while taken=$(port_user "$port") && [ -n "$taken" ] && [ "$tries" -gt 0 ]; do
			sleep 0.1
			tries=$((tries - 1))
		done
		[ -z "$taken" ] || die "$1 needs port $port, which is taken by $taken"
	done
}
