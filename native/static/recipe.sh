# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
# How each library of the static build is made; sourced by `build`, which sets src, work, jobs, arch and the tools.
# Every function builds from $src/NAME in $work and installs into $work/prefix. A change here builds them all anew.

# shellcheck disable=SC2034
declare -A zig_target=([x86_64]=x86_64-linux-musl [aarch64]=aarch64-linux-musl [armv7]=arm-linux-musleabihf)
# shellcheck disable=SC2034
declare -A zig_cpu=([x86_64]=x86_64 [aarch64]=generic [armv7]=generic+v7a+vfp3d16-neon-d32)
declare -A openssl_target=([x86_64]=linux-x86_64 [aarch64]=linux-aarch64 [armv7]=linux-armv4)
# shellcheck disable=SC2034
libraries=(headers zlib fmt yaml_cpp openssl nghttp2 curl)

cflags="-O2 -ffunction-sections -fdata-sections"

cmake_library() { # SOURCE OPTIONS...
  local source=$1
  shift
  rm -rf "$work/cmake"
  CORE_HA_STATIC_PREFIX=$work/prefix cmake -G Ninja -S "$src/$source" -B "$work/cmake" \
    -DCMAKE_TOOLCHAIN_FILE="$here/toolchain.cmake" -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_FLAGS_RELEASE=-O2 \
    -DCMAKE_CXX_FLAGS_RELEASE=-O2 -DCMAKE_INSTALL_PREFIX=/usr -DCMAKE_INSTALL_LIBDIR=lib -DBUILD_SHARED_LIBS=OFF \
    -DCMAKE_POLICY_VERSION_MINIMUM=3.5 "$@"
  nice cmake --build "$work/cmake" -j "$jobs"
  DESTDIR=$work/prefix cmake --install "$work/cmake"
}

build_headers() {
  cmake_library nlohmann-json3 -DJSON_BuildTests=OFF
  cmake_library cli11 -DCLI11_BUILD_TESTS=OFF -DCLI11_BUILD_EXAMPLES=OFF -DCLI11_BUILD_DOCS=OFF \
    -DCLI11_SINGLE_FILE=OFF
}

build_zlib() { # The package carries the sources alone.
  local source zlib=$src/libz-sys/src/zlib
  mkdir "$work/zlib"
  for source in "$zlib"/*.c; do
    # shellcheck disable=SC2086
    zig-cc $cflags -DHAVE_UNISTD_H -DHAVE_STDARG_H -c "$source" -o "$work/zlib/$(basename "$source" .c).o"
  done
  mkdir -p "$work/prefix/usr/lib" "$work/prefix/usr/include"
  zig-ar rcs "$work/prefix/usr/lib/libz.a" "$work"/zlib/*.o
  cp "$zlib/zlib.h" "$zlib/zconf.h" "$work/prefix/usr/include/"
}

build_fmt() { cmake_library fmtlib -DFMT_TEST=OFF -DFMT_DOC=OFF -DFMT_OS=OFF -DCMAKE_CXX_STANDARD=17; }

build_yaml_cpp() {
  cmake_library yaml-cpp -DYAML_CPP_BUILD_TESTS=OFF -DYAML_CPP_BUILD_TOOLS=OFF -DYAML_CPP_BUILD_CONTRIB=OFF
}

build_openssl() {
  mkdir "$work/openssl"
  # Its own compiler line goes into the library, so it names the tools by their bare names, and places that are no
  # place on this machine.
  (cd "$work/openssl" && CC=zig-cc AR=zig-ar RANLIB=zig-ranlib \
    "$src/openssl-src/openssl/Configure" "${openssl_target[$arch]}" --prefix=/usr --openssldir=/etc/ssl --libdir=lib \
    no-shared no-module no-dso no-engine no-legacy no-tests no-apps no-docs no-async no-comp no-quic no-ssl3 no-tls1 \
    no-tls1_1 no-dtls no-srp no-psk no-cmp no-cms no-ct no-rfc3779 no-ts no-ocsp no-gost no-idea no-camellia no-seed \
    no-rc2 no-rc4 no-rc5 no-md4 no-mdc2 no-whirlpool no-bf no-cast no-aria no-sm2 no-sm3 no-sm4 no-ui-console \
    no-secure-memory no-argon2 no-afalgeng no-uplink -O2 -ffunction-sections -fdata-sections
    nice make -j "$jobs" build_libs
    make install_dev DESTDIR="$work/openssl-installed")
  cp -r "$work/openssl-installed/usr" "$work/prefix/"
}

build_nghttp2() {
  cmake_library libnghttp2-sys/nghttp2 -DENABLE_LIB_ONLY=ON -DENABLE_DOC=OFF -DBUILD_TESTING=OFF \
    -DBUILD_STATIC_LIBS=ON -DENABLE_STATIC_LIB=ON
}

build_curl() {
  cmake_library curl-sys/curl -DBUILD_CURL_EXE=OFF -DBUILD_EXAMPLES=OFF -DBUILD_STATIC_LIBS=ON \
    -DBUILD_TESTING=OFF -DBUILD_LIBCURL_DOCS=OFF -DBUILD_MISC_DOCS=OFF -DENABLE_CURL_MANUAL=OFF -DHTTP_ONLY=ON \
    -DCURL_USE_OPENSSL=ON -DUSE_NGHTTP2=ON -DCURL_ZLIB=OFF -DCURL_BROTLI=OFF -DCURL_ZSTD=OFF -DCURL_USE_LIBPSL=OFF \
    -DUSE_LIBIDN2=OFF -DCURL_USE_LIBSSH2=OFF -DCURL_USE_GSSAPI=OFF -DCURL_DISABLE_LDAP=ON -DCURL_DISABLE_NTLM=ON \
    -DCURL_DISABLE_NETRC=ON -DCURL_DISABLE_ALTSVC=ON -DCURL_DISABLE_WEBSOCKETS=ON -DCURL_DISABLE_COOKIES=ON \
    -DCURL_DISABLE_HSTS=ON -DCURL_DISABLE_DOH=ON -DCURL_CA_BUNDLE=none -DCURL_CA_PATH=none \
    -DCMAKE_DISABLE_FIND_PACKAGE_Perl=ON
}
