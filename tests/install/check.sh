#!/bin/sh
# Installs a build (argument: its directory) into a fresh prefix and builds the consumers against nothing but that prefix:
# with CMake's find_package, with pkg-config, and looks at what the library exports.
set -eu
build=$1
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
prefix=$work/prefix

cmake --install "$build" --prefix "$prefix" > "$work/install.log"

for language in c cpp cpp17; do
  cmake -S "$here/$language" -B "$work/$language" -DCMAKE_PREFIX_PATH="$prefix" > "$work/configure.log" || {
    cat "$work/configure.log"
    exit 1
  }
  cmake --build "$work/$language" > "$work/build.log" || {
    cat "$work/build.log"
    exit 1
  }
  "$work/$language/consumer"
done

PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name ragdot.pc)")
LD_LIBRARY_PATH=$(dirname "$(find "$prefix" -name libragdot.so)")
export PKG_CONFIG_PATH LD_LIBRARY_PATH
flags=$(pkg-config --cflags --libs "ragdot >= 0.1")
# The flags are words: they are split on purpose.
${CC:-cc} -std=c99 -pedantic -Wall -Wextra -Werror "$here/c/consumer.c" $flags -o "$work/consumer"
"$work/consumer"
${CXX:-c++} -std=c++20 -Wall -Wextra -Werror "$here/cpp/consumer.cpp" $flags -o "$work/consumer"
"$work/consumer"

cp "$LD_LIBRARY_PATH/libragdot.so" "$work/libcopy.so"
${CC:-cc} -std=c99 -pedantic -Wall -Wextra -Werror "$here/copies/two_copies.c" $flags -ldl -o "$work/copies"
"$work/copies" "$work/libcopy.so"

# Defined symbols only; what is not part of the interface must not be visible.
nm -DC --defined-only "$LD_LIBRARY_PATH/libragdot.so" | cut -d' ' -f3- | grep -v '^RAGDOT_C' | sed 's/@@RAGDOT_C.*//' > "$work/exports"
if grep -vE '^(ragdot_[a-z0-9_]+$|ragdot::[A-Za-z0-9_]+(::[A-Za-z0-9_]+)?(\[abi:cxx11\])?\(.*\)( const)?$)' "$work/exports" ||
  grep -E '^ragdot::[a-z0-9_]+::' "$work/exports"; then
  echo "libragdot exports the names above, which are not in its public headers"
  exit 1
fi
# Every function of the C headers is there.
grep -ohE '\bragdot_[a-z0-9_]+\(' "$prefix/include/ragdot/ragdot.h" "$prefix/include/ragdot/cuda.h" | tr -d '(' | sort -u |
  grep -vE '^ragdot_((const_)?matri|cuda_(scale|aligned)_rows)' > "$work/declared"
if ! missing=$(grep -vxFf "$work/exports" "$work/declared"); then missing=; fi
if [ -n "$missing" ]; then
  echo "declared in ragdot.h or cuda.h and not exported:" $missing
  exit 1
fi
echo "exports: ok"
