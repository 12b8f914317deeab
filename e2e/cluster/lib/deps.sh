# shellcheck shell=bash
# What comes from Debian: the container runtime, the CNI plugins and the tools
# that work on the network. Looked up by what is used, not by package, so that
# another build of the same program will do.

debian_packages() {
	local pair
	for pair in containerd:containerd ctr:containerd runc:runc iptables:iptables iptables-save:iptables \
		ip:iproute2 ss:iproute2 conntrack:conntrack buildah:buildah openssl:openssl; do
		command -v "${pair%%:*}" >/dev/null || echo "${pair#*:}"
	done
	[ -n "$(cni_plugin_dir)" ] || echo containernetworking-plugins
	[ -s /etc/ssl/certs/ca-certificates.crt ] || echo ca-certificates
}

cni_plugin_dir() {
	local dir
	for dir in /usr/lib/cni /opt/cni/bin /usr/libexec/cni; do
		if [ -x "$dir/bridge" ] && [ -x "$dir/host-local" ] && [ -x "$dir/portmap" ] &&
			[ -x "$dir/firewall" ] && [ -x "$dir/loopback" ]; then
			echo "$dir"
			return
		fi
	done
}

local_deps() {
	local missing log
	# Debian keeps ip, runc and iptables where an ordinary PATH may not look.
	PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
	mapfile -t missing < <(debian_packages | sort -u)
	[ ${#missing[@]} -gt 0 ] || return 0
	command -v apt-get >/dev/null ||
		die "needs the programs of these Debian packages: ${missing[*]}"
	[ "$(id -u)" = 0 ] ||
		die "needs Debian packages that root can install: apt-get install ${missing[*]}"
	say "installing ${missing[*]}"
	log=$(mktemp)
	if ! {
		apt-get update &&
			DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
	} >"$log" 2>&1 </dev/null; then
		show_log "$log"
		rm -f "$log"
		die "installing ${missing[*]} failed"
	fi
	rm -f "$log"
}
