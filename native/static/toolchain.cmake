# SPDX-License-Identifier: GPL-3.0-or-later
#
# The static build's compilers and libraries; native/static/build makes both and names their directories.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR "$ENV{CORE_HA_STATIC_ARCH}")
set(CMAKE_C_COMPILER "$ENV{CORE_HA_STATIC_TOOLS}/zig-cc")
set(CMAKE_CXX_COMPILER "$ENV{CORE_HA_STATIC_TOOLS}/zig-c++")
set(CMAKE_AR "$ENV{CORE_HA_STATIC_TOOLS}/zig-ar" CACHE FILEPATH "")
set(CMAKE_RANLIB "$ENV{CORE_HA_STATIC_TOOLS}/zig-ranlib" CACHE FILEPATH "")
# Probes run the compiler some twenty times, and this one is slow without optimisation.
set(CMAKE_TRY_COMPILE_CONFIGURATION Release)

set(CMAKE_FIND_ROOT_PATH "$ENV{CORE_HA_STATIC_PREFIX}")
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(CMAKE_FIND_LIBRARY_SUFFIXES .a)
set(OPENSSL_USE_STATIC_LIBS ON)
set(CURL_USE_STATIC_LIBS ON)

set(CMAKE_C_FLAGS_INIT "-ffunction-sections -fdata-sections")
set(CMAKE_CXX_FLAGS_INIT "-ffunction-sections -fdata-sections")
set(CMAKE_EXE_LINKER_FLAGS_INIT "-static -Wl,--gc-sections -s")
