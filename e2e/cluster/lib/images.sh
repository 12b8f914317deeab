# shellcheck shell=bash
# Images: built from files at hand, never pulled. An image is known by a hash of
# what it is made of. Its archive is kept in the cache, one for each name, so
# that a new cluster loads it without a build; what the running cluster has is
# noted beside its state.

PAUSE_IMAGE=registry.k8s.io/pause:3.10
COREDNS_IMAGE=registry.k8s.io/coredns/coredns:v$COREDNS_VERSION
PROMETHEUS_IMAGE=quay.io/prometheus/prometheus:v$PROMETHEUS_VERSION
ALERTMANAGER_IMAGE=quay.io/prometheus/alertmanager:v$ALERTMANAGER_VERSION
LOKI_IMAGE=docker.io/grafana/loki:$LOKI_VERSION
JAEGER_IMAGE=docker.io/jaegertracing/jaeger:$JAEGER_VERSION
OTELCOL_IMAGE=docker.io/otel/opentelemetry-collector-contrib:$OTELCOL_VERSION
KUBE_STATE_METRICS_IMAGE=registry.k8s.io/kube-state-metrics/kube-state-metrics:v$KUBE_STATE_METRICS_VERSION
NODE_EXPORTER_IMAGE=quay.io/prometheus/node-exporter:v$NODE_EXPORTER_VERSION
BLACKBOX_EXPORTER_IMAGE=quay.io/prometheus/blackbox-exporter:v$BLACKBOX_EXPORTER_VERSION
# The S3 server that the tests put Loki's chunks into.
VERSITYGW_IMAGE=ghcr.io/versity/versitygw:v$VERSITYGW_VERSION

# load_image NAME:TAG DOCKERFILE CONTEXT
load_image() {
	local name=$1 dockerfile=$2 context=$3
	[ -f "$dockerfile" ] || die "no such Dockerfile: $dockerfile"
	[ -d "$context" ] || die "no such directory: $context"
	provide_image "$name" "$({
		sha256sum <"$dockerfile"
		tree_hash "$context"
	} | short_hash)" given_context "$dockerfile" "$context"
}

given_context() {
	STAGED_DOCKERFILE=$2
	STAGED_CONTEXT=$3
}

# load_rust_image NAME:TAG BINARY
load_rust_image() {
	local name=$1 binary=$2
	[ -x "$binary" ] || die "no such program: $binary"
	command -v ldd >/dev/null || die "rust-image needs ldd"
	provide_image "$name" "$({
		cat "$IMAGE_DIR/rust.Dockerfile" "$CLUSTER_DIR/lib/images.sh"
		basename "$binary"
		sha256sum <"$binary"
		shared_libraries "$binary" | xargs -r sha256sum
	} | short_hash)" stage_rust "$binary"
}

# The images of the cluster itself, which its node cannot do without, and those
# of the programs that the operator under test runs.
load_node_images() {
	load_tool_image "$PAUSE_IMAGE" pause pause
	load_tool_image "$COREDNS_IMAGE" coredns coredns
}

local_images() {
	use_tools
	build_tools
	load_node_images
	load_tool_image "$PROMETHEUS_IMAGE" prometheus prometheus promtool
	load_tool_image "$ALERTMANAGER_IMAGE" alertmanager alertmanager amtool
	load_tool_image "$LOKI_IMAGE" loki loki
	load_tool_image "$JAEGER_IMAGE" jaeger jaeger
	load_tool_image "$OTELCOL_IMAGE" otelcol otelcol
	load_tool_image "$KUBE_STATE_METRICS_IMAGE" kube-state-metrics kube-state-metrics
	load_tool_image "$NODE_EXPORTER_IMAGE" node-exporter node_exporter
	load_tool_image "$BLACKBOX_EXPORTER_IMAGE" blackbox-exporter blackbox_exporter
	load_tool_image "$VERSITYGW_IMAGE" versitygw versitygw
	load_debian_images
}

# load_tool_image NAME:TAG WHAT PROGRAM...: from e2e/images/WHAT.Dockerfile and
# programs that tools.sh built; the key of the build stands for their contents.
load_tool_image() {
	local name=$1 what=$2
	shift 2
	provide_image "$name" "$({
		readlink -f "${@/#/$BIN/}"
		cat "$IMAGE_DIR/$what.Dockerfile" "$CLUSTER_DIR/lib/images.sh"
		find "$IMAGE_DIR/$what" -type f -exec cat {} + 2>/dev/null || true
	} | short_hash)" stage_tools "$what" "$@"
}

stage_tools() {
	local stage=$1 what=$2 program
	shift 2
	STAGED_DOCKERFILE=$IMAGE_DIR/$what.Dockerfile
	STAGED_CONTEXT=$stage
	mkdir -p "$stage/root/bin" "$stage/empty"
	for program in "$@"; do install -m 755 "$(readlink -f "$BIN/$program")" "$stage/root/bin/$program"; done
	stage_base "$stage/root"
	[ ! -d "$IMAGE_DIR/$what" ] || cp -r "$IMAGE_DIR/$what/." "$stage"
}

stage_rust() {
	local stage=$1 binary=$2 name library
	name=$(basename "$binary")
	STAGED_DOCKERFILE=$stage/Dockerfile
	STAGED_CONTEXT=$stage
	sed "s|@BINARY@|$name|" "$IMAGE_DIR/rust.Dockerfile" >"$stage/Dockerfile"
	mkdir -p "$stage/root/usr/local/bin"
	# Debug information only makes the image slow to load; the symbols stay.
	if ! strip --strip-debug -o "$stage/root/usr/local/bin/$name" "$binary" 2>/dev/null; then
		cp "$binary" "$stage/root/usr/local/bin/$name"
	fi
	chmod 755 "$stage/root/usr/local/bin/$name"
	while read -r library; do
		install -D -m 755 "$library" "$stage/root$library"
	done < <(shared_libraries "$binary")
	stage_base "$stage/root"
}

# shared_libraries BINARY: what the dynamic loader would map, and the loader.
shared_libraries() {
	{ ldd "$1" 2>/dev/null || true; } | sed -n -E 's/^.* => (\/[^ ]+) .*$/\1/p; s/^[[:space:]]+(\/[^ ]+) .*$/\1/p' | sort -u
}

# What a program without a distribution around it still asks for: who it is, how
# names are looked up, and whom to trust.
stage_base() {
	local root=$1
	mkdir -p "$root/etc/ssl/certs"
	install -m 644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
	echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
	printf '%s\n' root:x:0:0:root:/:/bin/false nobody:x:65534:65534:nobody:/:/bin/false \
		nonroot:x:65532:65532:nonroot:/:/bin/false >"$root/etc/passwd"
	printf '%s\n' root:x:0: nobody:x:65534: nonroot:x:65532: >"$root/etc/group"
	mkdir "$root/tmp"
	chmod 1777 "$root/tmp"
}

# provide_image NAME:TAG KEY STAGE... loads an image into the cluster unless that
# very one is there. STAGE is called, with a directory to work in, only when the
# image has to be built; it says where Dockerfile and context are.
provide_image() {
	local name=$1 key=$2
	shift 2
	case $CLUSTER in
	kind) kind_provide_image "$name" "$key" "$@" ;;
	current) current_provide_image "$name" ;;
	local) local_provide_image "$name" "$key" "$@" ;;
	esac
}

local_provide_image() {
	local name=$1 key=$2 file archive started=$SECONDS
	shift 2
	PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
	part_runs containerd || die "the cluster is not up: run 'cluster up' first"
	file=$(tr '/:' '__' <<<"$name")
	mkdir -p "$STATE/images" "$CACHE/images"
	if [ "$key" = "$(cat "$STATE/images/$file" 2>/dev/null)" ] && image_loaded "$name"; then
		return 0
	fi
	archive=$CACHE/images/$file@$key.tar
	if [ ! -f "$archive" ]; then
		say "building image $name"
		with_work_dir build_archive "$name" "$archive" "$@"
		find "$CACHE/images" -maxdepth 1 -name "$file@*.tar" ! -path "$archive" -delete
	fi
	containerd_ctl images import "$archive" >"$STATE/log/import.log" 2>&1 || {
		show_log "$STATE/log/import.log"
		rm -f "$archive"
		die "loading image $name failed"
	}
	image_loaded "$name" || die "image $name was loaded, but containerd knows no such name"
	echo "$key" >"$STATE/images/$file"
	say "loaded image $name in $((SECONDS - started))s"
}

image_loaded() { [ -n "$(containerd_ctl images list -q "name==$(full_image_name "$1")")" ]; }

# full_image_name spells out what Docker and the kubelet leave unsaid.
full_image_name() {
	local first=${1%%/*}
	case $1 in
	*/*)
		case $first in
		*.* | *:* | localhost) echo "$1" ;;
		*) echo "docker.io/$1" ;;
		esac
		;;
	*) echo "docker.io/library/$1" ;;
	esac
}

# build_archive DIR NAME ARCHIVE STAGE... builds without leaving anything in the
# system's own image store or network configuration.
build_archive() {
	local dir=$1 name=$2 archive=$3 stage=$4 log system=/var/lib/containers
	shift 4
	[ ! -e "$system" ] || system=
	mkdir "$dir/stage"
	"$stage" "$dir/stage" "$@"
	log=$dir/build.log
	echo '{"default": [{"type": "insecureAcceptAnything"}]}' >"$dir/policy.json"
	printf '[network]\nnetwork_config_dir = "%s/net"\n' "$dir" >"$dir/containers.conf"
	local -a buildah=(env TMPDIR="$dir" CONTAINERS_CONF="$dir/containers.conf" buildah --storage-driver vfs --root "$dir/store" --runroot "$dir/run")
	if ! {
		"${buildah[@]}" bud --signature-policy "$dir/policy.json" --isolation chroot \
			--timestamp 0 --tag "$(full_image_name "$name")" --file "$STAGED_DOCKERFILE" "$STAGED_CONTEXT" &&
			"${buildah[@]}" push --signature-policy "$dir/policy.json" "$(full_image_name "$name")" \
				"docker-archive:$dir/image.tar:$(full_image_name "$name")"
	} >"$log" 2>&1 </dev/null; then
		show_log "$log"
		die "building image $name failed"
	fi
	# The one cache that cannot be put elsewhere.
	[ -z "$system" ] || rm -rf "$system"
	mv -f "$dir/image.tar" "$archive"
}

# with_work_dir FUNCTION ARGUMENTS... calls a function with a new directory as
# its first argument and removes that, whatever happens.
with_work_dir() {
	local function=$1
	shift
	mkdir -p "$CACHE/images"
	(
		dir=$(mktemp -d "$CACHE/images/work.XXXXXX")
		trap 'rm -rf "$dir"' EXIT
		trap 'exit 143' TERM HUP INT
		"$function" "$dir" "$@"
	) || exit
}

short_hash() { sha256sum | cut -c1-20; }

# tree_hash DIR: names, kinds, modes, link targets and contents.
tree_hash() (
	cd "$1" || exit
	find . -printf '%p %y %m %l\n' | LC_ALL=C sort
	find . -type f -print0 | LC_ALL=C sort -z | xargs -0r sha256sum
)
