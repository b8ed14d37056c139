#!/usr/bin/env bash
# Installs what the tests need beside cargo: system packages, and Python and npm parts in .setup/.
# Safe to run again; quick when there is nothing to do. `setup.sh bench` adds what the benchmark compares with; `setup.sh
# build` stops at what building needs.
set -euo pipefail
cd "$(dirname "$0")/../.."
setup=.setup
mkdir -p "$setup"

say() { printf 'setup: %s\n' "$*"; }

# command -> Debian package
declare -A wanted=([cc]=gcc [c++]=g++ [cmake]=cmake)
[ "${1:-}" = build ] || wanted+=(
  [docker-registry]=docker-registry [skopeo]=skopeo [umoci]=umoci [nginx]=nginx-light [fcgiwrap]=fcgiwrap
  [prometheus]=prometheus [chromium]=chromium [git]=git [curl]=curl [python3]=python3 [node]=nodejs [npm]=npm
  [script]=bsdutils
)
missing=()
for command in "${!wanted[@]}"; do
  PATH="$PATH:/usr/sbin:/sbin" command -v "$command" >/dev/null || missing+=("${wanted[$command]}")
done
[ "${1:-}" = build ] || python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)

if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" = 0 ]; then sudo=(); elif sudo -n true 2>/dev/null; then sudo=(sudo); else
    say "these packages are missing, and this user may not install them: ${missing[*]}"
    say "ask an administrator to run: apt-get install -y --no-install-recommends ${missing[*]}"
    exit 1
  fi
  say "installing ${missing[*]}"
  # Debian starts services as it installs them. The tests start their own, on ports of their own.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee "$policy" >/dev/null
    "${sudo[@]}" chmod +x "$policy"
    trap '"${sudo[@]}" rm -f "$policy"' EXIT
  fi
  log=$setup/apt.log
  export DEBIAN_FRONTEND=noninteractive
  install=(apt-get install -y --no-install-recommends "${missing[@]}")
  "${sudo[@]}" "${install[@]}" >"$log" 2>&1 ||
    { "${sudo[@]}" apt-get update >"$log" 2>&1 && "${sudo[@]}" "${install[@]}" >>"$log" 2>&1; } ||
    { tail -20 "$log"; say "apt-get failed; the whole log is $log"; exit 1; }
fi

for tool in cargo rustfmt cargo-clippy; do
  command -v "$tool" >/dev/null || { say "$tool is missing: install a Rust toolchain with rustfmt and clippy"; exit 1; }
done

[ "${1:-}" != build ] || exit 0

# Runs "$@" unless the stamp says that these inputs were installed already.
once() {
  local stamp=$setup/$1.stamp inputs=$2 sum
  shift 2
  # shellcheck disable=SC2086
  sum=$(cat $inputs | sha256sum)
  [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$sum" ] && return
  "$@"
  printf '%s\n' "$sum" >"$stamp"
}

python_parts() {
  say "installing the Python parts"
  [ -x "$setup/venv/bin/pip" ] || python3 -m venv "$setup/venv"
  "$setup/venv/bin/pip" install --quiet --disable-pip-version-check -r tests/lab/requirements.txt -r tests/setup/requirements.txt
}

npm_parts() {
  say "installing the npm parts"
  mkdir -p "$setup/npm"
  cp tests/setup/package.json "$setup/npm/"
  (cd "$setup/npm" && npm install --no-audit --no-fund --no-package-lock --loglevel=error)
}

github_parts() {
  say "unpacking recorded GitHub traffic"
  rm -rf "$setup/github"
  mkdir -p "$setup/github"
  # The build system of the sdist must be there to be asked for its name; nothing is built.
  "$setup/venv/bin/pip" install --quiet --disable-pip-version-check hatchling==1.27.0
  "$setup/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --no-build-isolation \
    --no-binary github3.py --dest "$setup/github" github3.py==4.0.1
  "$setup/venv/bin/python" tests/setup/github.py "$setup"/github/github3*.tar.gz "$setup/github"
}

# What the benchmark alone compares with.
bench_parts() {
  say "installing the benchmark's Python parts"
  [ -x "$setup/bench/bin/pip" ] || python3 -m venv "$setup/bench"
  "$setup/bench/bin/pip" install --quiet --disable-pip-version-check -r tests/setup/bench.txt
}

once python "tests/lab/requirements.txt tests/setup/requirements.txt" python_parts
once npm tests/setup/package.json npm_parts
once github "tests/setup/github.py tests/setup/setup.sh" github_parts
[ "${1:-}" != bench ] || once bench tests/setup/bench.txt bench_parts
say "everything is there"
