# shellcheck shell=bash
# Images of programs that no Go module gives: databases, and the exporters that
# read them. From Debian's packages, which are unpacked and never installed;
# what an image takes of them is copied out with the libraries that it links.

# The exporters are what Debian 12 has, under the upstream names of those
# versions. The databases are under a name that nobody can pull.
POSTGRES_EXPORTER_IMAGE=quay.io/prometheuscommunity/postgres-exporter:v0.11.1
MYSQLD_EXPORTER_IMAGE=quay.io/prometheus/mysqld-exporter:v0.14.0
REDIS_EXPORTER_IMAGE=docker.io/oliver006/redis_exporter:v1.45.0
POSTGRES_IMAGE=e2e.evenkeel.dev/postgres:15
MARIADB_IMAGE=e2e.evenkeel.dev/mariadb:10.11
REDIS_IMAGE=e2e.evenkeel.dev/redis:7.0

# One line an image: name, Dockerfile in e2e/images, packages, what is taken.
debian_images() {
	cat <<TABLE
$POSTGRES_EXPORTER_IMAGE|postgres-exporter|prometheus-postgres-exporter|usr/bin/prometheus-postgres-exporter
$MYSQLD_EXPORTER_IMAGE|mysqld-exporter|prometheus-mysqld-exporter|usr/bin/prometheus-mysqld-exporter
$REDIS_EXPORTER_IMAGE|redis-exporter|prometheus-redis-exporter|usr/bin/prometheus-redis-exporter
$POSTGRES_IMAGE|postgres|postgresql-15 dash coreutils tzdata|bin/dash bin/cat bin/mkdir usr/lib/postgresql/15/bin/postgres usr/lib/postgresql/15/bin/initdb usr/lib/postgresql/15/lib usr/share/postgresql/15 usr/share/zoneinfo
$MARIADB_IMAGE|mariadb|mariadb-server-core dash coreutils|bin/dash bin/cat bin/mkdir usr/sbin/mariadbd usr/share/mysql
$REDIS_IMAGE|redis|redis-server|usr/bin/redis-server
TABLE
}

# load_debian_images: for a cluster that is ours. Elsewhere the tests find no
# database, say so and go on.
load_debian_images() {
	local name what packages paths
	if ! grep -qsx 'ID=debian' /etc/os-release || ! grep -qsx 'VERSION_ID="12"' /etc/os-release; then
		say "no databases for the tests: they are made from the packages of Debian 12"
		return 0
	fi
	# What an interrupted run left may be half a package.
	rm -rf "$CACHE/debian"
	while IFS='|' read -r name what packages paths; do
		# shellcheck disable=SC2086 # several words each
		provide_image "$name" "$({
			echo "$packages $paths"
			cat "$IMAGE_DIR/$what.Dockerfile" "$CLUSTER_DIR/lib/images.sh" "$CLUSTER_DIR/lib/debian.sh"
			find "$IMAGE_DIR/$what" -type f -exec cat {} + 2>/dev/null || true
		} | short_hash)" stage_debian "$what" "$packages" $paths </dev/null
	done < <(debian_images)
	rm -rf "$CACHE/debian"
}

# stage_debian STAGE WHAT PACKAGES PATH...
stage_debian() {
	local stage=$1 what=$2 packages=$3 path file library system=$1.system
	shift 3
	# shellcheck disable=SC2034 # read by build_archive
	STAGED_DOCKERFILE=$IMAGE_DIR/$what.Dockerfile
	# shellcheck disable=SC2034
	STAGED_CONTEXT=$stage
	# shellcheck disable=SC2086 # several words
	unpack_packages "$system" $packages
	for path in "$@"; do
		mkdir -p "$stage/root/$(dirname "$path")"
		cp -rL "$system/$path" "$stage/root/$path"
	done
	# Just-in-time compilation would bring in a whole compiler.
	rm -rf "$stage"/root/usr/lib/postgresql/*/lib/{bitcode,llvmjit*}
	[ ! -e "$stage/root/bin/dash" ] || mv "$stage/root/bin/dash" "$stage/root/bin/sh"
	while read -r file; do libraries_in "$system" "$file"; done < <(
		find "$stage/root" -type f \( -perm -u+x -o -name '*.so' \)
	) | sort -u | while read -r library; do
		install -D -m 755 "$library" "$stage/root/usr/lib/$(basename "$(dirname "$library")")/$(basename "$library")"
	done
	# The loader, where programs name it.
	for file in "$system"/lib64/ld-linux-*.so.* "$system"/lib/ld-linux-*.so.*; do
		[ ! -e "$file" ] || install -D -m 755 "$file" "$stage/root${file#"$system"}"
	done
	stage_base "$stage/root"
	mkdir -p "$stage/empty"
	[ ! -d "$IMAGE_DIR/$what" ] || cp -r "$IMAGE_DIR/$what/." "$stage"
	rm -rf "$system"
}

# libraries_in SYSTEM FILE: what that system's own loader would map.
libraries_in() {
	local system=$1 loader folders
	loader=$(echo "$system"/usr/lib/*-linux-gnu*/ld-linux-*.so.*)
	folders=$(printf '%s:' "$system"/usr/lib/*-linux-gnu*)
	{ "$loader" --library-path "${folders%:}" --list "$2" 2>/dev/null || true; } |
		sed -n -E 's/^.* => (\/[^ ]+) .*$/\1/p' | { grep -v '/ld-linux-' || true; }
}

# unpack_packages TARGET PACKAGE... with all that they need, as if nothing was
# installed. Its own lists: those of the machine may be old, or missing.
unpack_packages() {
	local target=$1 home=$CACHE/debian log=$1.log package
	shift
	local -a apt=(apt-get -o "Dir::State=$home/state" -o "Dir::State::status=$home/status" -o "Dir::Cache=$home/cache"
		-o APT::Sandbox::User=root)
	if [ ! -e "$home/status" ]; then
		rm -rf "$home"
		mkdir -p "$home"/{state/lists/partial,cache/archives/partial,packages}
		: >"$home/none"
		"${apt[@]}" -o "Dir::State::status=$home/none" update >"$log" 2>&1 || {
			show_log "$log"
			die "Debian's lists of packages cannot be had"
		}
		mv "$home/none" "$home/status"
	fi
	mkdir -p "$target"/usr/{bin,sbin,lib,lib64}
	ln -s usr/bin usr/sbin usr/lib usr/lib64 "$target"
	# Scripts, languages and the compiler are for an installed system.
	"${apt[@]}" -s -y --no-install-recommends install "$@" >"$log" 2>&1 || {
		show_log "$log"
		die "Debian has no $*"
	}
	while read -r package; do
		if ! {
			[ -e "$(echo "$home/packages/${package}"_*.deb)" ] || (cd "$home/packages" && "${apt[@]}" download "$package")
		} >"$log" 2>&1 ||
			! dpkg-deb --fsys-tarfile "$home/packages/${package}"_*.deb | tar -x --keep-directory-symlink -C "$target" 2>>"$log"; then
			show_log "$log"
			die "the package $package cannot be had"
		fi
	done < <(sed -n 's/^Inst \([^ ]*\) .*/\1/p' "$log" |
		grep -vE '^(.*perl.*|locales|libc-l10n|libllvm.*|libz3-4|systemd.*|adduser|debconf|dpkg|passwd|openssl|gcc-.*)$')
}
