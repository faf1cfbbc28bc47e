#!/usr/bin/env bash
# Tests everything, on a fresh Debian machine too: ./test.sh [STAGE]...
#
# go           every Go test, under the race detector
# tls          certificates from a real ACME server, the PROXY protocol from a real HAProxy
# browser      the demo, signing in with many tabs and frames, signing out, break-glass, the portal and every page of the
#              console, in a real Chromium
# chart        the Helm chart: lint, golden manifests, values that must be rejected, manifests against the types of four
#              versions of Kubernetes and the rules of its API server, an upgrade from the chart before; golden
#              manifests and the types of one version alone unless named
# alerts       the alerts by promtool; every query of the dashboards in a real Prometheus
# fronts       the snippets of docs/forward-auth.md in real nginx, HAProxy and Caddy
# postgres     the store in a real PostgreSQL, with restarts of the server and networks that are cut; several replicas
#              behind a real HAProxy, with certificates from a real ACME server; what takes long only when named
# conformance  SCIM suites and libraries of other projects against a running server;
#              only when named, since it downloads them from PyPI and npm
# keycloak     sign-in with a real Keycloak, from Maven Central; only when named
# quickstart   the commands of docs/quickstart.md, in the order of the page, and its result in a real Chromium; only when
#              named, since it downloads Keycloak from Maven Central and JupyterLab from PyPI
# recipes      the applications of docs/recipes behind Sallyport, in a real Chromium; only when named, since it installs
#              them from PyPI, npm and Debian
# release      what a release consists of, built twice in different folders and compared, and checked by programs of others;
#              only when named, since it builds everything six times
# packages     the packages installed, started, upgraded under load, removed and purged in a Debian of their own, in which
#              systemd is process 1; only when named, since it downloads that Debian, and needs root
#
# Missing programs are installed where that needs no question: Chromium,
# Node.js, nginx, HAProxy, Prometheus and a C compiler by apt-get (as root), playwright-core by
# npm into browser/node_modules, helm, caddy and pebble by go install into .cache/.
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# go.mod names the toolchain, even if the environment says "local".
GOTOOLCHAIN=$(sed -n 's/^toolchain //p' go.mod)
export GOTOOLCHAIN=${GOTOOLCHAIN:-auto}
readonly cache=$PWD/.cache
readonly helm_version=v3.22.0
readonly pebble_version=v2.10.1
readonly kube_version=1.34.0
readonly kube_versions=(1.27 1.32 1.34 1.37) # the oldest that the chart admits, and the newest
readonly caddy_version=v2.11.9
readonly keycloak_version=26.4.0
readonly jupyterlab_version=4.6.6
readonly node_red_version=5.0.7
readonly code_server_version=4.139.1
readonly node_version=24.22.3
readonly node=$cache/recipes/node/bin

passed=0
failed=0
commands_built=

main() {
  local stage
  command -v go >/dev/null || die "Go 1.21 or newer is needed: https://go.dev/dl/"
  use_memory
  for stage in "${@:-all}"; do
    case $stage in
      all) test_all ;;
      go | tls | browser | chart | alerts | fronts | postgres | conformance | keycloak | quickstart | recipes | release | packages) "test_$stage" ;;
      *) die "unknown stage '$stage'; there are: go, tls, browser, chart, alerts, fronts, postgres, conformance, keycloak, quickstart, recipes, release, packages" ;;
    esac
  done
  echo
  echo "$passed passed, $failed failed"
  ((failed == 0 && passed > 0))
}

# use_memory has tests keep their files in memory, if there are 6 GB for them: they wait for the disk otherwise. What has to
# survive a crash is tested by killing processes, and on disks of its own.
use_memory() {
  local free
  free=$(df --output=avail -k /dev/shm 2>/dev/null | tail -1) || return 0
  ((free > 6000000)) || return 0
  TMPDIR=$(mktemp -d /dev/shm/sp-XXX)
  chmod 1777 "$TMPDIR" # as /tmp: PostgreSQL runs as another user. The name is short because those of Unix sockets are
  export TMPDIR
  trap 'rm -rf "$TMPDIR"' EXIT
}

test_all() {
  local browser=1
  test_go
  begin_browser || browser=
  test_tls
  test_chart -short
  test_alerts
  test_fronts
  test_postgres -short
  [[ ! $browser ]] || end_browser
}

# apart are the tests of commands that start many processes, each of which would start slowly under the race detector, and
# trials that last: they run without it.
readonly apart='^Test(Verbs|Upgrade_.*|Reliability_.*|StoreCopy_.*|Restore_.*|AccessGuide_.*|Demo_.*|Record_RotatesAndIsKilled|Paths_OnTheWire|Reload_PassesNewListenersOn|Store_NewerFormatIsUntouched)$'

# test_go counts packages. Three lanes run beside each other.
test_go() {
  title "Go tests, race detector on"
  need cc gcc libc6-dev
  local logs status=0 good bad others commands_pid beside_pid
  logs=$(mktemp -d)
  build_commands || { fail "building the tests of the commands"; return 0; }
  race -skip "$apart" ./cmd/sallyport >"$logs/commands" 2>&1 &
  commands_pid=$!
  run_beside >"$logs/beside" 2>&1 &
  beside_pid=$!
  mapfile -t others < <(go list ./... | grep -v '/cmd/sallyport$')
  race -p 2 "${others[@]}" 2>&1 | tee "$logs/packages" || status=$?
  wait "$commands_pid" || status=$?
  cat "$logs/commands"
  wait "$beside_pid" || status=$?
  echo "without the race detector: more of the commands, and the proxy with upstreams over TLS:"
  cat "$logs/beside"
  good=$(cat "$logs"/* | grep -c '^ok ' || true)
  bad=$(cat "$logs"/* | grep -cE '^FAIL[[:space:]]+[^[:space:]]' || true)
  rm -rf "$logs"
  passed=$((passed + good))
  failed=$((failed + bad))
  if ((status != 0 && bad == 0)); then
    fail "go test ended with status $status"
  fi
}

# race [ARG]...: runs go test under the race detector. The first limit is for all packages, the second for one. .ci/run vets
# the tests with everything else. Fewer collections of garbage and no debugger's tables take a fifth less time.
race() {
  CGO_ENABLED=1 GOGC=400 timeout --signal=QUIT 35m go test -race -vet=off -ldflags=-w -parallel 4 -timeout 15m "$@"
}

run_beside() {
  local status=0
  commands 20m -run "$apart" || status=$?
  UPSTREAM=https timeout --signal=QUIT 20m go test -vet=off -ldflags=-w ./proxy || status=$?
  return "$status"
}

# build_commands builds the tests of the commands, without the race detector, for the stages that run some of them.
build_commands() {
  [[ ! $commands_built ]] || return 0
  go test -c -ldflags=-w -o "$cache/bin/commands.test" ./cmd/sallyport && commands_built=1
}

# commands LIMIT FLAG...: runs tests of the commands, with flags of go test. What they print is shown if one fails.
commands() {
  local limit=$1 log
  shift
  build_commands || return 1
  log=$(mktemp)
  if (cd cmd/sallyport && timeout --signal=QUIT "$limit" "$cache/bin/commands.test" "${@/#-/-test.}") >"$log" 2>&1; then
    echo "ok    sallyport/cmd/sallyport $*"
    rm "$log"
  else
    cat "$log"
    rm "$log"
    printf 'FAIL\tsallyport/cmd/sallyport %s\n' "$*"
    return 1
  fi
}

test_tls() {
  title "Certificates by ACME, clients by the PROXY protocol"
  need_daemon haproxy || { fail "installing haproxy"; return 0; }
  install_pebble || { fail "installing pebble"; return 0; }
  PEBBLE="$cache/bin/pebble" PEBBLE_CHALLTESTSRV="$cache/bin/pebble-challtestsrv" HAPROXY="$(daemon haproxy)" \
    check "with Pebble and HAProxy" commands 10m -run '^Test(ACME|Balancer)_'
}

test_browser() {
  begin_browser || return 0
  end_browser
}

# begin_browser starts the tests in a browser, which wait more than they compute, so that they run beside other stages.
begin_browser() {
  need node nodejs npm
  need npm npm
  local browser=${CHROMIUM:-/usr/bin/chromium}
  [[ -x $browser ]] || need chromium chromium
  build_sallyport || return 1
  npm --prefix browser ci --ignore-scripts --no-audit --no-fund --loglevel=error || { fail "npm ci"; return 1; }
  browser_results=$(mktemp -d)
  cp "$cache/bin/sallyport" "$browser_results/sallyport" # other stages build it again
  run_browser env CHROMIUM="$browser" SALLYPORT="$browser_results/sallyport" timeout 8m node --test --test-reporter=spec &
  browser_pid=$!
}

# run_browser COMMAND...: runs the command with each file of tests, and leaves what it wrote and its status. Beside the others
# run the demo, which for most of a minute waits for access to end, and the tests over a company, which is made once.
run_browser() {
  run_file browser/demo.test.mjs "$@" &
  run_company "$@" &
  local file
  for file in browser/*.test.mjs; do
    if [[ $file != browser/demo.test.mjs ]] && ! uses_company "$file"; then
      run_file "$file" "$@"
    fi
  done
  wait
}

# run_company COMMAND...: makes the company, and runs the command with each file of tests over it: that of actions, which takes
# longest, beside the others.
run_company() {
  local file actions=browser/console-actions.test.mjs
  go test -count=1 -vet=off ./browser/company -run TestCompany -args -out "$browser_results/company" >"$browser_results/company.log" 2>&1 || true
  COMPANY="$browser_results/company" run_file "$actions" "$@" &
  for file in browser/*.test.mjs; do
    if [[ $file != "$actions" ]] && uses_company "$file"; then
      COMPANY="$browser_results/company" run_file "$file" "$@"
    fi
  done
  wait
}

uses_company() { grep -q "from './company.mjs'" "$1"; }

# run_file FILE COMMAND...: runs the command with one file.
run_file() {
  local file=$1 status=0
  shift
  "$@" "$file" >"$browser_results/$(basename "$file").log" 2>&1 || status=$?
  echo "$status" >"$browser_results/$(basename "$file").status"
}

# end_browser waits for the tests in a browser, and counts them.
end_browser() {
  title "In a browser"
  wait "$browser_pid" || true
  local file
  for file in browser/*.test.mjs; do
    check "$file" browser_result "$browser_results/$(basename "$file")"
  done
  rm -rf "$browser_results"
}

browser_result() {
  cat "$1.log"
  [[ $(cat "$1.status") == 0 ]]
}

# test_chart [-short]: with -short, without the values that must be rejected, which are many, and without what has to build
# the API server and the types of former versions.
test_chart() {
  title "The Helm chart"
  need openssl openssl
  install_helm || { fail "installing helm"; return 0; }
  build_sallyport || return 0
  local values
  for values in charts/sallyport/ci/*.yaml; do
    check "lint $values" quietly "$cache/bin/helm" lint --strict --kube-version "$kube_version" charts/sallyport -f "$values"
    check "golden $values" same_manifests "$values"
    check "config $values" sound_config "$values"
  done
  if [[ ${1:-} == -short ]]; then
    check "manifests for Kubernetes ${kube_versions[-1]}" typed_manifests "${kube_versions[-1]}"
    return 0
  fi
  for values in charts/sallyport/ci/refused/*.yaml; do
    check "refused $values" refused_values "$values"
  done
  local version
  for version in "${kube_versions[@]}"; do
    check "manifests for Kubernetes $version" typed_manifests "$version"
  done
  check "manifests by the rules of the API server" admitted_manifests
}

# admitted_manifests: has the API server's own code check new manifests, and those that take the place of the former chart's.
admitted_manifests() (
  cd charts/manifests/admission && HELM=$cache/bin/helm timeout 10m go test -vet=off -count=1 .
)

# typed_manifests VERSION: read the manifests with the types of that version, which a file of modules of its own pins.
typed_manifests() {
  local mod=$1.mod
  [[ -f charts/manifests/$mod ]] || mod=go.mod
  grep -q "k8s.io/api v0\.${1#1.}\." "charts/manifests/$mod" || { echo "charts/manifests/$mod is not for Kubernetes $1"; return 1; }
  (cd charts/manifests && KUBE=$1 HELM=$cache/bin/helm timeout 10m go test -vet=off -count=1 -modfile="$mod" .)
}

test_alerts() {
  title "Alerts and dashboards in a real Prometheus"
  need_daemon prometheus || { fail "installing prometheus"; return 0; }
  check "promtool check rules" quietly promtool check rules deploy/prometheus/alerts.yaml
  check "promtool test rules" quietly promtool test rules deploy/prometheus/alerts_test.yaml
  PROMETHEUS="$(daemon prometheus)" check "every query of every dashboard" commands 5m -run '^TestDashboards_'
}

test_fronts() {
  title "Forward-auth in real front proxies"
  need_daemon nginx || { fail "installing nginx"; return 0; }
  need_daemon haproxy || { fail "installing haproxy"; return 0; }
  install_caddy || { fail "installing caddy"; return 0; }
  FRONTS=1 FRONT_NGINX="$(daemon nginx)" FRONT_HAPROXY="$(daemon haproxy)" FRONT_CADDY="$cache/bin/caddy" \
    check "nginx, HAProxy and Caddy" commands 10m -run '^(TestForwardAuth|TestHTTPBalancer)$'
}

# test_postgres [-short]: with -short, without the tests that take long.
test_postgres() {
  title "The store in PostgreSQL"
  local bin flags=${1:-}
  bin=$(postgres_programs) || RUNLEVEL=1 need initdb postgresql
  bin=$(postgres_programs) || { fail "installing PostgreSQL"; return 0; }
  need_daemon haproxy && install_pebble || { fail "installing haproxy and pebble"; return 0; }
  export POSTGRES=$bin
  local log store
  log=$(mktemp)
  timeout 10m go test -vet=off -count=1 -parallel 8 $flags ./store/postgres ./peers >"$log" 2>&1 & # most of which waits
  store=$!
  HAPROXY="$(daemon haproxy)" PEBBLE="$cache/bin/pebble" PEBBLE_CHALLTESTSRV="$cache/bin/pebble-challtestsrv" \
    check "PostgreSQL: replicas" commands 10m -parallel 3 $flags -run '^TestReplicas_'
  check "PostgreSQL: copies, backups and restores" commands 10m -parallel 4 $flags -run '^TestPostgres_'
  check "PostgreSQL: the store" wait "$store"
  cat "$log"
}

# postgres_programs prints the folder of PostgreSQL's programs, which Debian keeps out of every PATH.
postgres_programs() { ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1 | grep .; }

test_conformance() {
  title "SCIM suites of other projects"
  need node nodejs npm
  build_sallyport || return 0
  install_suites || { fail "installing the suites"; return 0; }
  npm --prefix conformance ci --ignore-scripts --no-audit --no-fund --loglevel=error || { fail "npm ci"; return 0; }
  local python=$cache/conformance/bin/python
  check "scim2-tester and scim-sanity" timeout 10m "$python" conformance/live.py "$cache/bin/sallyport" "$python" conformance/suites.py
  check "scim2-parse-filter and scim-patch" timeout 10m "$python" conformance/live.py "$cache/bin/sallyport" \
    node --test --test-reporter=spec conformance/opinions.mjs
}

test_keycloak() {
  title "Sign-in with a real Keycloak"
  need java openjdk-17-jre-headless
  need python3 python3
  install_keycloak || { fail "installing Keycloak"; return 0; }
  check "Keycloak $keycloak_version" env KEYCLOAK="$cache/keycloak-$keycloak_version" \
    timeout 15m go test -count=1 -run '^TestKeycloak$' ./cmd/sallyport
}

# test_quickstart installs what the page says must be there, by the page's own line for Debian.
test_quickstart() {
  title "The quickstart"
  local command
  for command in java mvn unzip curl openssl; do
    # shellcheck disable=SC2046 # a list of packages
    need "$command" $(sed -n 's/^On Debian and Ubuntu: `sudo apt-get install \(.*\)`\.$/\1/p' docs/quickstart.md)
  done
  python3 -c 'import ensurepip' 2>/dev/null || need ensurepip python3 python3-venv
  install_browser || { fail "installing the browser"; return 0; }
  check "docs/quickstart.md" env GOCACHE="$(go env GOCACHE)" GOMODCACHE="$(go env GOMODCACHE)" PIP_CACHE_DIR="$cache/pip" \
    timeout 30m node --test --test-reporter=spec browser/quickstart/quickstart.test.mjs
}

# test_recipes counts applications.
test_recipes() {
  title "Applications behind Sallyport"
  build_sallyport || return 0
  install_browser || { fail "installing the browser"; return 0; }
  need_daemon prometheus || { fail "installing prometheus"; return 0; }
  need htpasswd apache2-utils
  install_node || { fail "installing Node.js $node_version"; return 0; }
  install_recipe jupyterlab "$jupyterlab_version" install_jupyterlab || { fail "installing JupyterLab"; return 0; }
  install_recipe node-red "$node_red_version" npm_install || { fail "installing Node-RED"; return 0; }
  need cc gcc libc6-dev
  need c++ g++
  need make make
  need pkg-config pkg-config libkrb5-dev
  [[ -f /usr/include/gssapi.h ]] || need krb5-headers libkrb5-dev
  install_recipe code-server "$code_server_version" npm_install || { fail "installing code-server"; return 0; }
  check "JupyterLab, Node-RED, Prometheus and code-server" env RECIPES="$cache/recipes" SALLYPORT="$cache/bin/sallyport" PROMETHEUS="$(daemon prometheus)" \
    timeout 20m "$node/node" --test --test-reporter=spec browser/recipes/recipes.test.mjs
  if [[ $(id -u) == 0 ]]; then
    need nft nftables
    check "the rule that lets Sallyport's user alone in" unshare --net bash -Eeuo pipefail -c "$(declare -f only_its_user); only_its_user daemon"
  fi
}

# only_its_user USER: loads the rule of docs/recipes/README.md for that user, and asks as that one, as another and as root.
only_its_user() {
  local served status=0
  ip link set lo up
  sed -n '/^ *table inet sallyport/,/^ *```$/p' docs/recipes/README.md | sed "/\`/d; s/\"sallyport\"/\"$1\"/" | nft -f -
  served=$(mktemp -d)
  python3 -m http.server 8080 --bind 127.0.0.1 --directory "$served" >/dev/null 2>&1 &
  until [[ $(ss -Hltn sport = :8080) ]]; do sleep 0.1; done
  setpriv --reuid="$1" --clear-groups curl -sf -o /dev/null http://127.0.0.1:8080/ || { echo "$1 gets no response"; status=1; }
  ! setpriv --reuid=nobody --clear-groups curl -s -o /dev/null http://127.0.0.1:8080/ || { echo "nobody gets a response"; status=1; }
  ! curl -s -o /dev/null http://127.0.0.1:8080/ || { echo "root gets a response"; status=1; }
  kill %1
  rmdir "$served"
  return "$status"
}

# install_recipe NAME VERSION COMMAND: runs the command in an empty folder of that name, unless it has that version.
install_recipe() {
  local folder=$cache/recipes/$1
  [[ -f $folder/installed-$2 ]] && return
  rm -rf "$folder" && mkdir -p "$folder" && (cd "$folder" && "$3" "$1" "$2") && touch "$folder/installed-$2"
}

install_jupyterlab() {
  python3 -c 'import ensurepip' 2>/dev/null || need ensurepip python3 python3-venv
  python3 -m venv . && bin/pip install --quiet --disable-pip-version-check "jupyterlab==$2"
}

# npm_install NAME VERSION: with the Node.js of install_node, whose headers compile what has to be compiled.
npm_install() {
  PATH=$node:$PATH npm_config_nodedir=$(dirname "$node") npm install --no-audit --no-fund --loglevel=error "$1@$2"
}

# install_node installs a newer Node.js than Debian's, which Node-RED and code-server demand.
install_node() {
  need npm nodejs npm
  install_recipe node "$node_version" install_node_package && [[ -x $node/node ]]
}

install_node_package() { npm install --no-audit --no-fund --loglevel=error --ignore-scripts "node-linux-$(uname -m | sed 's/x86_64/x64/; s/aarch64/arm64/')@$2" && ln -s node_modules/node-linux-*/bin bin && ln -s node_modules/node-linux-*/include include; }

# install_browser installs what tests in a browser need.
install_browser() {
  need node nodejs npm
  need npm npm
  [[ -x ${CHROMIUM:-/usr/bin/chromium} ]] || need chromium chromium
  [[ -d browser/node_modules/playwright-core ]] || npm --prefix browser ci --ignore-scripts --no-audit --no-fund --loglevel=error
}

install_keycloak() {
  [[ -x $cache/keycloak-$keycloak_version/bin/kc.sh ]] && return
  need mvn maven
  need unzip unzip
  mkdir -p "$cache"
  mvn --batch-mode --quiet dependency:copy "-Dartifact=org.keycloak:keycloak-quarkus-dist:$keycloak_version:zip" "-DoutputDirectory=$cache" &&
    unzip -q -o "$cache/keycloak-quarkus-dist-$keycloak_version.zip" -d "$cache" &&
    rm "$cache/keycloak-quarkus-dist-$keycloak_version.zip"
}

# test_release builds a second time in another folder, with another build cache and without the repository.
test_release() {
  title "A release, built twice"
  need file file
  need skopeo skopeo
  need rpm rpm
  need curl curl
  local elsewhere version commit time
  version=0.0.0-test
  commit=$(git rev-parse HEAD)
  time=$(git log -1 --format=%ct)
  elsewhere=$(mktemp -d)
  check "build" quietly env "SOURCE_DATE_EPOCH=$time" "COMMIT=$commit" .ci/release "$version" "$cache/releases/first"
  git ls-files -z --cached --others --exclude-standard | tar --null -T - -cf - | tar -xf - -C "$elsewhere"
  mkdir "$elsewhere/.cache"
  cp -r "$cache/bin" "$elsewhere/.cache/bin"
  cp "$cache"/nfpm-* "$cache"/cyclonedx-gomod-* "$cache"/helm-* "$elsewhere/.cache/"
  check "build elsewhere" quietly env "SOURCE_DATE_EPOCH=$time" "COMMIT=$commit" "GOCACHE=$elsewhere/go-build" \
    "$elsewhere/.ci/release" "$version" "$cache/releases/second"
  rm -rf "$elsewhere"
  check "artefacts" .ci/artefacts "$cache/releases/first" "$cache/releases/second" "$version" "$commit"
}

# test_packages upgrades from a version before to the next, both built from this tree.
test_packages() {
  title "Packages in a Debian of their own"
  need debootstrap debootstrap
  need openssl openssl
  need curl curl
  check "build the version before" quietly env PLATFORMS=linux/amd64 .ci/release 0.0.8 "$cache/releases/before"
  check "build the next version" quietly env PLATFORMS=linux/amd64 .ci/release 0.0.9 "$cache/releases/next"
  check "packages" .ci/packages "$cache/releases/before" "$cache/releases/next"
}

install_suites() {
  cmp -s conformance/requirements.txt "$cache/conformance/installed" && return
  python3 -c 'import ensurepip' 2>/dev/null || need ensurepip python3 python3-venv
  rm -rf "$cache/conformance"
  python3 -m venv "$cache/conformance" &&
    "$cache/conformance/bin/pip" install --quiet --disable-pip-version-check -r conformance/requirements.txt &&
    cp conformance/requirements.txt "$cache/conformance/installed"
}

# same_manifests compares the manifests of the chart with the golden ones; UPDATE=1 replaces those.
same_manifests() {
  local golden
  golden=charts/sallyport/ci/golden/$(basename "$1")
  if [[ ${UPDATE:-} ]]; then
    render "$1" >"$golden"
  fi
  diff -u "$golden" <(render "$1")
}

# sound_config runs `sallyport validate` on the file that the chart mounts, with the secrets it names in place.
sound_config() {
  local etc status=0
  etc=$(mktemp -d)
  mkdir "$etc/tls" "$etc/secrets" "$etc/database"
  echo secret >"$etc/secrets/oidc"
  echo 'postgres://sallyport@db.example.com/sallyport?sslmode=verify-full' | tee "$etc/secrets/postgres" >"$etc/database/url"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=login.example.com \
    -keyout "$etc/tls/tls.key" -out "$etc/tls/tls.crt" 2>/dev/null
  render "$1" -s templates/configmap.yaml | sed -n '/^  sallyport.yaml: |/,$ s/^    //p' |
    sed "s|/etc/sallyport|$etc|g; s|/var/lib/sallyport|$etc/data|g; s|/run/sallyport|$etc/run|g" >"$etc/sallyport.yaml" # where the user of the tests may write
  quietly "$cache/bin/sallyport" validate -c "$etc/sallyport.yaml" || status=1
  rm -rf "$etc"
  return $status
}

# refused_values demands the error that the first line of the file names.
refused_values() {
  local want out
  want=$(sed -n '1s/^# want: //p' "$1")
  if out=$(render "$1" 2>&1); then
    echo "the chart accepts values that it must reject"
    return 1
  fi
  [[ -n $want && $out == *"$want"* ]] || { echo "want: $want"; echo "got:  $out"; return 1; }
}

# render VALUES [FLAG...]
render() {
  "$cache/bin/helm" template sallyport charts/sallyport --namespace sallyport --kube-version "$kube_version" -f "$@"
}

build_sallyport() {
  go build -o "$cache/bin/sallyport" ./cmd/sallyport || { fail "building sallyport"; return 1; }
}

install_helm() {
  [[ -x $cache/bin/helm && -f $cache/helm-$helm_version ]] && return
  mkdir -p "$cache/bin"
  GOTOOLCHAIN=auto GOBIN=$cache/bin go install "helm.sh/helm/v3/cmd/helm@$helm_version" && touch "$cache/helm-$helm_version"
}

install_pebble() {
  [[ -x $cache/bin/pebble && -f $cache/pebble-$pebble_version ]] && return
  mkdir -p "$cache/bin"
  local module=github.com/letsencrypt/pebble/v2/cmd
  GOTOOLCHAIN=auto GOBIN=$cache/bin go install "$module/pebble@$pebble_version" "$module/pebble-challtestsrv@$pebble_version" &&
    touch "$cache/pebble-$pebble_version"
}

install_caddy() {
  [[ -x $cache/bin/caddy && -f $cache/caddy-$caddy_version ]] && return
  mkdir -p "$cache/bin"
  GOTOOLCHAIN=auto GOBIN=$cache/bin go install -tags nobadger,nomysql,nopgx \
    "github.com/caddyserver/caddy/v2/cmd/caddy@$caddy_version" && touch "$cache/caddy-$caddy_version"
}

# daemon NAME: prints its path; Debian keeps daemons in folders that are not in every PATH.
daemon() { PATH=$PATH:/usr/sbin:/sbin command -v "$1"; }

# need_daemon NAME: install the package of that name if it is missing, without starting its service.
need_daemon() {
  daemon "$1" >/dev/null && return
  RUNLEVEL=1 need "$1" "$1"
  daemon "$1" >/dev/null
}

# need COMMAND PACKAGE...: install the packages if the command is missing.
need() {
  local command=$1
  shift
  command -v "$command" >/dev/null && return
  [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null || die "$command is missing; install it (Debian: apt-get install $*)"
  echo "installing $*"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends "$@" >/dev/null
}

# check NAME COMMAND...: run it and count.
check() {
  local name=$1
  shift
  if "$@"; then
    passed=$((passed + 1))
    echo "ok    $name"
  else
    fail "$name"
  fi
}

# quietly COMMAND...: run it and print its output only if it fails.
quietly() {
  local out
  out=$("$@" 2>&1) || { echo "$out"; return 1; }
}

fail() {
  failed=$((failed + 1))
  echo "FAIL  $1"
}

title() { printf '\n== %s\n' "$1"; }

die() {
  echo "test.sh: $1" >&2
  exit 1
}

main "$@"
