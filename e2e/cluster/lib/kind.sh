# shellcheck shell=bash
# CLUSTER=kind: a cluster in Docker, made by kind. Images are the upstream ones,
# which the node pulls; only those built here are loaded.

kind_name() { echo "${EVENKEEL_KIND_NAME:-evenkeel}"; }

kind_deps() {
	command -v docker >/dev/null || die "CLUSTER=kind needs docker on PATH"
	command -v kind >/dev/null || die "CLUSTER=kind needs kind on PATH"
	docker info >/dev/null 2>&1 || die "CLUSTER=kind needs a Docker engine that answers"
}

kind_runs() { kind get clusters 2>/dev/null | grep -qxF "$(kind_name)"; }

kind_up() {
	kind_deps
	build_tools
	mkdir -p "$STATE"
	kind_runs || kind create cluster --name "$(kind_name)" --kubeconfig "$STATE/kind.kubeconfig" --wait 180s >&2
	kind get kubeconfig --name "$(kind_name)" | write_file "$STATE/kind.kubeconfig" || true
	say "the cluster is up: export KUBECONFIG=$STATE/kind.kubeconfig PATH=$(tools_dir):\$PATH"
}

kind_down() {
	kind_deps
	! kind_runs || kind delete cluster --name "$(kind_name)" --kubeconfig "$STATE/kind.kubeconfig" >&2
	rm -rf "$STATE/kind.kubeconfig" "$STATE/kind-images"
}

kind_status() {
	kind_deps
	if kind_runs; then
		docker ps --filter "label=io.x-k8s.kind.cluster=$(kind_name)"
	else
		echo "no kind cluster named $(kind_name)"
	fi
}

kind_kubeconfig() { echo "$STATE/kind.kubeconfig"; }

kind_images() {
	say "CLUSTER=kind pulls the upstream images"
	load_debian_images
}

kind_provide_image() {
	local name=$1 key=$2 noted
	shift 2
	kind_deps
	kind_runs || die "the cluster is not up: run 'cluster up' first"
	# A new cluster of the same name has none of the images of the old one.
	noted=$STATE/kind-images/$(tr '/:' '__' <<<"$name")
	key+=" $(docker ps -q --filter "label=io.x-k8s.kind.cluster=$(kind_name)" | sort | tr '\n' ' ')"
	[ "$key" != "$(cat "$noted" 2>/dev/null)" ] || return 0
	say "building image $name"
	with_work_dir kind_build_image "$name" "$@"
	kind load docker-image --name "$(kind_name)" "$name" >&2
	mkdir -p "$STATE/kind-images"
	echo "$key" >"$noted"
}

kind_build_image() {
	local dir=$1 name=$2 stage=$3
	shift 3
	mkdir "$dir/stage"
	"$stage" "$dir/stage" "$@"
	docker build --quiet --tag "$name" --file "$STAGED_DOCKERFILE" "$STAGED_CONTEXT" >&2
}
