# SPDX-License-Identifier: GPL-3.0-or-later
#
# What makes a build fast where it is there, and is not missed where it is not: ccache, mold, precompiled headers.

find_program(CORE_HA_CCACHE ccache)
if(CORE_HA_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # With a precompiled header ccache can only hit if it does not insist on seeing every macro and time stamp behind it.
  # Paths below the base directory count as relative, so that one clone profits from what another has compiled.
  set(launcher ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      CCACHE_NOHASHDIR=true CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} ${CORE_HA_CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${launcher})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${launcher})
endif()

find_program(CORE_HA_MOLD mold)
if(CORE_HA_MOLD AND NOT CMAKE_CROSSCOMPILING)
  add_link_options(-fuse-ld=mold)
endif()

# core_ha_precompile(TARGET HEADERS...): JSON alone costs more than a second in each source file.
function(core_ha_precompile target)
  if(CORE_HA_PCH)
    target_precompile_headers(${target} PRIVATE ${ARGN})
    target_compile_options(${target} PRIVATE
      $<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess>
      $<$<CXX_COMPILER_ID:Clang>:SHELL:-Xclang -fno-pch-timestamp>)
  endif()
endfunction()

# core_ha_unite(TARGET): where CMAKE_UNITY_BUILD is set, the sources of each directory are compiled as one, in less than
# half the time: what templates make is made once. A name without linkage is then one in its directory.
function(core_ha_unite target)
  get_target_property(sources ${target} SOURCES)
  foreach(source ${sources})
    get_filename_component(directory ${source} DIRECTORY)
    string(MAKE_C_IDENTIFIER "${directory}" group)
    set_source_files_properties(${source} PROPERTIES UNITY_GROUP ${target}${group})
  endforeach()
  set_target_properties(${target} PROPERTIES UNITY_BUILD_MODE GROUP)
endfunction()
