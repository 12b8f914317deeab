# shellcheck shell=bash
# Certificates and kubeconfigs. One CA signs them all, the kubelet's serving
# certificate too, and is the ca.crt in every pod.

make_pki() {
	local dir=$STATE/pki
	[ ! -f "$dir/complete" ] || return 0
	say "making certificates"
	rm -rf "$dir"
	mkdir -p "$dir"
	chmod 700 "$dir"
	new_key "$dir/sa.key"
	openssl pkey -in "$dir/sa.key" -pubout -out "$dir/sa.pub"
	new_key "$dir/ca.key"
	openssl req -x509 -new -key "$dir/ca.key" -sha256 -days 3650 -subj /CN=evenkeel-e2e-ca \
		-addext keyUsage=critical,keyCertSign,cRLSign,digitalSignature -out "$dir/ca.crt"

	certificate apiserver /CN=kube-apiserver serverAuth \
		"IP:127.0.0.1,IP:$NODE_IP,IP:$API_SERVICE_IP,DNS:localhost,DNS:$NODE_NAME,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
	certificate apiserver-kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client clientAuth
	certificate admin /O=system:masters/CN=kubernetes-admin clientAuth
	certificate controller-manager /CN=system:kube-controller-manager clientAuth
	certificate scheduler /CN=system:kube-scheduler clientAuth
	certificate proxy /CN=system:kube-proxy clientAuth
	certificate kubelet-client "/O=system:nodes/CN=system:node:$NODE_NAME" clientAuth
	certificate kubelet "/O=system:nodes/CN=system:node:$NODE_NAME" serverAuth "DNS:$NODE_NAME,IP:$NODE_IP"
	touch "$dir/complete"
}

new_key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }

# certificate NAME SUBJECT USAGE [SUBJECT-ALTERNATIVE-NAMES]
certificate() {
	local dir=$STATE/pki name=$1 subject=$2 usage=$3 names=${4:-}
	new_key "$dir/$name.key"
	openssl req -new -key "$dir/$name.key" -subj "$subject" -out "$dir/$name.csr"
	openssl x509 -req -in "$dir/$name.csr" -CA "$dir/ca.crt" -CAkey "$dir/ca.key" -CAcreateserial \
		-sha256 -days 3650 -out "$dir/$name.crt" 2>/dev/null -extfile <(
			echo basicConstraints=critical,CA:FALSE
			echo keyUsage=critical,digitalSignature
			echo "extendedKeyUsage=$usage"
			[ -z "$names" ] || echo "subjectAltName=$names"
		)
	rm -f "$dir/$name.csr"
}

make_kubeconfigs() {
	local part
	for part in controller-manager scheduler proxy kubelet-client; do
		kubeconfig_for "$part" | write_file "$STATE/conf/$part.kubeconfig" || true
	done
	# The one for people and tests carries its keys, so that it can be copied.
	kubeconfig_for admin | sed \
		-e "s|certificate-authority: .*|certificate-authority-data: $(base64 -w0 "$STATE/pki/ca.crt")|" \
		-e "s|client-certificate: .*|client-certificate-data: $(base64 -w0 "$STATE/pki/admin.crt")|" \
		-e "s|client-key: .*|client-key-data: $(base64 -w0 "$STATE/pki/admin.key")|" |
		write_file "$KUBECONFIG_FILE" || true
}

kubeconfig_for() {
	cat <<YAML
apiVersion: v1
kind: Config
current-context: evenkeel
contexts:
  - name: evenkeel
    context:
      cluster: evenkeel
      user: $1
clusters:
  - name: evenkeel
    cluster:
      server: https://127.0.0.1:$API_PORT
      certificate-authority: $STATE/pki/ca.crt
users:
  - name: $1
    user:
      client-certificate: $STATE/pki/$1.crt
      client-key: $STATE/pki/$1.key
YAML
}
