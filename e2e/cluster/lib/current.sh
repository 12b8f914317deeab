# shellcheck shell=bash
# CLUSTER=current: the reader's own cluster, by the reader's own kubeconfig and
# its current context. Nothing is started, stopped or removed.

current_deps() { :; }

current_up() {
	build_tools
	"$(tools_dir)/kubectl" --request-timeout=10s get --raw /readyz >/dev/null ||
		die "CLUSTER=current: the cluster of the current kube context does not answer"
	say "using the cluster of the current kube context"
}

current_down() { say "CLUSTER=current: nothing was started, so nothing is stopped"; }

current_status() {
	"$(tools_dir)/kubectl" config current-context
	"$(tools_dir)/kubectl" --request-timeout=10s get nodes
}

current_kubeconfig() { echo "${KUBECONFIG:-$HOME/.kube/config}"; }

current_images() { say "CLUSTER=current pulls the upstream images"; }

current_provide_image() {
	say "CLUSTER=current: image $1 is not loaded; its nodes must be able to pull it under that name"
}
