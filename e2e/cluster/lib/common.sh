# shellcheck shell=bash
# shellcheck disable=SC2034 # the settings are for the other files
# Settings, messages and waiting.

say() { printf '%s\n' "$*" >&2; }

die() {
	printf 'cluster: %s\n' "$*" >&2
	exit 1
}

# settle_environment reads what the caller may set, and gives everything else
# its default. All other files use these names.
settle_environment() {
	CACHE=${EVENKEEL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/evenkeel}
	STATE=${EVENKEEL_STATE:-${XDG_STATE_HOME:-$HOME/.local/state}/evenkeel}
	case $STATE$CACHE in
	*[[:space:]]*) die "EVENKEEL_STATE and EVENKEEL_CACHE must not contain spaces" ;;
	esac
	case $STATE in
	/?*) ;;
	*) die "EVENKEEL_STATE must be an absolute path, not '$STATE'" ;;
	esac
	case $CACHE in
	/?*) ;;
	*) die "EVENKEEL_CACHE must be an absolute path, not '$CACHE'" ;;
	esac

	NODE_NAME=${EVENKEEL_NODE_NAME:-node1}
	API_PORT=${EVENKEEL_API_PORT:-6443}
	POD_CIDR=${EVENKEEL_POD_CIDR:-10.88.0.0/16}
	SERVICE_CIDR=${EVENKEEL_SERVICE_CIDR:-10.96.0.0/16}
	NODE_IP=${POD_CIDR%.*}.1
	API_SERVICE_IP=${SERVICE_CIDR%.*}.1
	DNS_SERVICE_IP=${SERVICE_CIDR%.*}.10
	BRIDGE=cni0
	POD_LOGS_MARK=.evenkeel-cluster
	CONTAINERD_SOCKET=$STATE/containerd/containerd.sock
	KUBECONFIG_FILE=$STATE/kubeconfig
	IMAGE_DIR=$CLUSTER_DIR/../images
	MANIFEST_DIR=$CLUSTER_DIR/manifests

	CLUSTER=${CLUSTER:-$(default_cluster)}
	case $CLUSTER in
	local | kind | current) ;;
	*) die "CLUSTER must be local, kind or current, not '$CLUSTER'" ;;
	esac
}

default_cluster() {
	if command -v kind >/dev/null && command -v docker >/dev/null && docker info >/dev/null 2>&1; then
		echo kind
	else
		echo local
	fi
}

only_local() {
	[ "$CLUSTER" = local ] || die "'$1' works with CLUSTER=local only, this is CLUSTER=$CLUSTER"
}

# wait_until SECONDS WHAT LOGFILE COMMAND... polls a command. When the time is
# up it says what did not come, shows the end of the log, and gives up.
wait_until() {
	local seconds=$1 what=$2 log=$3 deadline
	shift 3
	deadline=$((SECONDS + seconds))
	until "$@" >/dev/null 2>&1; do
		if [ "$SECONDS" -ge "$deadline" ]; then
			say "cluster: $what: not after ${seconds}s"
			show_log "$log"
			exit 1
		fi
		sleep 0.2
	done
}

show_log() {
	[ -s "$1" ] || return 0
	say "--- the end of $1"
	tail -n 30 "$1" >&2
	say "---"
}

# write_file PATH replaces a file with standard input in one step. The result
# says whether anything changed, for those who care: 0 changed, 1 the same.
write_file() {
	local temporary
	temporary=$(mktemp "$1.XXXXXX")
	cat >"$temporary"
	if [ -f "$1" ] && cmp -s "$temporary" "$1"; then
		rm -f "$temporary"
		return 1
	fi
	chmod 600 "$temporary"
	mv -f "$temporary" "$1"
}
