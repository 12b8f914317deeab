# shellcheck shell=bash
# The programs, built from the Go modules in tools/ and kept in the cache by
# what they were built from.

KUBERNETES_VERSION=1.36.3
HELM_VERSION=4.3.1
# shellcheck disable=SC2034 # its image is named after it
COREDNS_VERSION=1.15.0
PROMETHEUS_VERSION=3.15.0
ALERTMANAGER_VERSION=0.31.1
LOKI_VERSION=3.7.8
# Jaeger's modules went on counting from 1: v1.76.0 holds this one.
JAEGER_VERSION=2.13.0
OTELCOL_VERSION=0.160.0
KUBE_STATE_METRICS_VERSION=2.20.0
NODE_EXPORTER_VERSION=1.10.2
BLACKBOX_EXPORTER_VERSION=0.28.0
VERSITYGW_VERSION=1.8.0
SLOTH_VERSION=0.16.0

# One line a program: name, module, package, build tags, linker flags. The
# versions come from the modules; the flags only stamp them. `files:MODULE:PATH`
# in place of a package is a folder that is copied out of a module.
tool_table() {
	local kubernetes prometheus loki common=github.com/prometheus/common/version
	kubernetes="-X k8s.io/component-base/version.gitVersion=v$KUBERNETES_VERSION"
	kubernetes+=" -X k8s.io/component-base/version.gitMajor=${KUBERNETES_VERSION%%.*}"
	kubernetes+=" -X k8s.io/component-base/version.gitMinor=$(cut -d. -f2 <<<"$KUBERNETES_VERSION")"
	kubernetes+=" -X k8s.io/component-base/version.gitTreeState=clean"
	prometheus="-X $common.Branch=HEAD"
	loki="-X github.com/grafana/loki/v3/pkg/util/build.Version=$LOKI_VERSION -X github.com/grafana/loki/v3/pkg/util/build.Branch=HEAD"
	cat <<TABLE
kube-apiserver|cluster|k8s.io/kubernetes/cmd/kube-apiserver||$kubernetes
etcd|cluster|go.etcd.io/etcd/server/v3||
kubectl|cluster|k8s.io/kubernetes/cmd/kubectl||$kubernetes
kube-controller-manager|cluster|k8s.io/kubernetes/cmd/kube-controller-manager||$kubernetes
kube-scheduler|cluster|k8s.io/kubernetes/cmd/kube-scheduler||$kubernetes
kubelet|cluster|k8s.io/kubernetes/cmd/kubelet||$kubernetes
kube-proxy|cluster|k8s.io/kubernetes/cmd/kube-proxy||$kubernetes
helm|cluster|helm.sh/helm/v4/cmd/helm||-X helm.sh/helm/v4/internal/version.version=v$HELM_VERSION
coredns|cluster|./coredns||
pause|cluster|./pause||
promtool|cluster|github.com/prometheus/prometheus/cmd/promtool|remove_all_sd,enable_kubernetes_sd|$prometheus -X $common.Version=$PROMETHEUS_VERSION
prometheus|cluster|github.com/prometheus/prometheus/cmd/prometheus|remove_all_sd,enable_kubernetes_sd|$prometheus -X $common.Version=$PROMETHEUS_VERSION
amtool|alertmanager|github.com/prometheus/alertmanager/cmd/amtool||$prometheus -X $common.Version=$ALERTMANAGER_VERSION
alertmanager|alertmanager|github.com/prometheus/alertmanager/cmd/alertmanager||$prometheus -X $common.Version=$ALERTMANAGER_VERSION
otelcol|telemetry|./otelcol||-X main.version=$OTELCOL_VERSION
kube-state-metrics|telemetry|k8s.io/kube-state-metrics/v2||$prometheus -X $common.Version=v$KUBE_STATE_METRICS_VERSION
node_exporter|exporters|github.com/prometheus/node_exporter||$prometheus -X $common.Version=$NODE_EXPORTER_VERSION
blackbox_exporter|exporters|github.com/prometheus/blackbox_exporter||$prometheus -X $common.Version=$BLACKBOX_EXPORTER_VERSION
jaeger|jaeger|github.com/jaegertracing/jaeger/cmd/jaeger||-X github.com/jaegertracing/jaeger/internal/version.latestVersion=v$JAEGER_VERSION
loki|loki|github.com/grafana/loki/v3/cmd/loki|netgo|$loki
logcli|loki|github.com/grafana/loki/v3/cmd/logcli|netgo|$loki
versitygw|versitygw|github.com/versity/versitygw/cmd/versitygw||-X main.Version=v$VERSITYGW_VERSION
rollouts-controller|rollouts|github.com/argoproj/argo-rollouts/cmd/rollouts-controller||
rollouts-crds|rollouts|files:github.com/argoproj/argo-rollouts:manifests/crds||
sloth|sloth|github.com/slok/sloth/cmd/sloth||-X github.com/slok/sloth/internal/info.Version=v$SLOTH_VERSION
TABLE
}

# A cluster that is not ours needs only what talks to it or checks a configuration. Those are built as well,
# so that the tests meet the same versions everywhere; who would rather use the
# ones on PATH sets EVENKEEL_TOOLS=path. sloth is the bench's own.
wanted_tools() {
	if [ "$CLUSTER" = local ]; then
		tool_table | grep -v '^sloth|'
	else
		tool_table | grep -E '^(kubectl|helm|promtool|amtool|loki|jaeger|otelcol)\|'
	fi
}

# module_key MODULE: what a module's programs are made of, as a short hash.
module_key() {
	local dir=$CLUSTER_DIR/tools/$1
	{
		cat "$dir/go.mod" "$dir/go.sum"
		find "$dir" -name '*.go' -print0 | sort -z | xargs -0 cat
		tool_table | grep -F "|$1|"
	} | sha256sum | cut -c1-16
}

tool_modules() { printf '%s\n' cluster alertmanager telemetry exporters jaeger loki versitygw rollouts; }

# tools_dir prints the one directory with all programs as links.
tools_dir() {
	local module keys=
	for module in $(tool_modules); do keys+=$(module_key "$module"); done
	echo "$CACHE/bin/$CLUSTER${EVENKEEL_TOOLS:+-$EVENKEEL_TOOLS}-$(sha256sum <<<"$keys" | cut -c1-16)"
}

build_tools() {
	local dir module name package tags flags line missing=()
	local -A keys
	dir=$(tools_dir)
	for module in $(tool_modules); do keys[$module]=$(module_key "$module"); done
	mkdir -p "$dir"

	while IFS='|' read -r name module package tags flags; do
		[ -x "$dir/$name" ] || missing+=("$name|$module|$package|$tags|$flags")
	done < <(wanted_tools)
	[ ${#missing[@]} -gt 0 ] || return 0

	(
		exec 8>"$CACHE/bin/.lock"
		if ! flock -n 8; then
			say "waiting for another build of the same programs"
			flock 8
		fi
		for line in "${missing[@]}"; do
			IFS='|' read -r name module package tags flags <<<"$line"
			provide_tool "$dir" "$name" "$module-${keys[$module]}" "$module" "$package" "$tags" "$flags"
		done
		drop_build_cache
	)
}

# build_bench_tools builds what only the bench runs, and prints its directory.
build_bench_tools() {
	local store name module package tags flags
	IFS='|' read -r name module package tags flags < <(tool_table | grep '^sloth|')
	store=$CACHE/bin/$module-$(module_key "$module")
	if [ ! -x "$store/$name" ]; then
		mkdir -p "$store"
		(
			exec 8>"$CACHE/bin/.lock"
			flock 8
			build_tool "$store" "$name" "$module" "$package" "$tags" "$flags"
			drop_build_cache
		)
	fi
	echo "$store"
}

# provide_tool links a program into the directory, and builds it first when no
# earlier build of the same module left it.
provide_tool() {
	local dir=$1 name=$2 key=$3 module=$4 package=$5 tags=$6 flags=$7 store found
	[ ! -x "$dir/$name" ] || return 0
	if [ "$CLUSTER" != local ] && [ "${EVENKEEL_TOOLS:-}" = path ] && found=$(command -v "$name"); then
		ln -sfn "$found" "$dir/$name"
		return 0
	fi
	store=$CACHE/bin/$key
	if [ ! -x "$store/$name" ]; then
		mkdir -p "$store"
		build_tool "$store" "$name" "$module" "$package" "$tags" "$flags"
	fi
	ln -sfn "../$key/$name" "$dir/$name"
}

build_tool() {
	local store=$1 name=$2 module=$3 package=$4 tags=$5 flags=$6 started=$SECONDS
	need_go
	if [[ $package = files:* ]]; then
		copy_files "$store/$name" "$module" "${package#files:}"
		return 0
	fi
	say "building $name"
	if ! (
		cd "$CLUSTER_DIR/tools/$module"
		GOCACHE=$CACHE/go-build GOWORK=off CGO_ENABLED=0 GOFLAGS='-mod=readonly -buildvcs=false' \
			nice -n 5 go build -trimpath -tags "$tags" -ldflags "-s -w $flags" \
			-o "$store/.$name.$$" "$package"
	) >&2; then
		rm -f "$store/.$name.$$"
		die "building $name failed"
	fi
	mv -f "$store/.$name.$$" "$store/$name"
	say "built $name in $((SECONDS - started))s"
}

# copy_files TARGET MODULE SOURCE:PATH
copy_files() {
	local target=$1 module=$2 source=${3%%:*} path=${3#*:} found
	found=$(cd "$CLUSTER_DIR/tools/$module" && GOWORK=off GOFLAGS=-mod=readonly go list -m -f '{{.Dir}}' "$source")
	rm -rf "$target.$$"
	cp -r "$found/$path" "$target.$$"
	chmod -R u+w "$target.$$"
	mv -T "$target.$$" "$target"
}

need_go() {
	local version
	command -v go >/dev/null || die "building the cluster's programs needs Go 1.26.5 or newer on PATH"
	version=$(go env GOVERSION)
	case $version in
	go1.2[0-5]* | go1.26 | go1.26.[0-4] | go1.1* | go1.[0-9] | go1.[0-9].*) die "building the cluster's programs needs Go 1.26.5 or newer, this is $version" ;;
	esac
}

# The compiler's cache is gigabytes and of no use once everything is built.
drop_build_cache() {
	[ ! -d "$CACHE/go-build" ] || rm -rf "$CACHE/go-build"
}
