# SPDX-License-Identifier: GPL-3.0-or-later
#
# The warnings our own code is compiled with, as a target, so that no other project's code sees them.
add_library(core_ha_warnings INTERFACE)
target_compile_options(core_ha_warnings INTERFACE
  -Wall
  -Wextra
  -Wpedantic
  # Of sources that are compiled as one it would tell of names in another file; clang-tidy looks at each alone.
  $<$<NOT:$<BOOL:${CORE_HA_UNITE}>>:-Wshadow>
  -Wconversion
  -Wno-sign-conversion        # Sizes and the signed counts of JSON meet everywhere; the lossy cases stay on.
  -Wold-style-cast
  -Wnon-virtual-dtor
  -Woverloaded-virtual
  -Wcast-align
  -Wformat=2
  -Wno-missing-field-initializers  # Designated initializers leave the defaults to the struct, on purpose.
  $<$<CXX_COMPILER_ID:GNU>:-Wduplicated-cond>
  $<$<CXX_COMPILER_ID:GNU>:-Wlogical-op>
  $<$<CXX_COMPILER_ID:Clang>:-Wimplicit-fallthrough>
  $<$<BOOL:${CORE_HA_WERROR}>:-Werror>
  # And GCC takes them for headers, whose types others might see.
  $<$<AND:$<CXX_COMPILER_ID:GNU>,$<BOOL:${CORE_HA_UNITE}>>:-Wno-subobject-linkage>
  # GCC 12 sees overlapping copies in std::string's own code (its bug 105651).
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>)
