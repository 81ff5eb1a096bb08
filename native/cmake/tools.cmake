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

# core_ha_precompile(TARGET HEADERS...): JSON alone costs more than a second in each source file. Where these are few it
# does not pay.
function(core_ha_precompile target)
  if(CORE_HA_PCH AND NOT CORE_HA_UNITE)
    target_precompile_headers(${target} PRIVATE ${ARGN})
    target_compile_options(${target} PRIVATE
      $<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess>
      $<$<CXX_COMPILER_ID:Clang>:SHELL:-Xclang -fno-pch-timestamp>)
  endif()
endfunction()

# core_ha_unite(SOURCES NAME): with CORE_HA_UNITE the sources of each directory become one, in less than half the time:
# what templates make is made once. A name without linkage is then one in its directory. It is what CMake's unity build
# does, but without an absolute path in what is compiled, so that ccache knows it again in another clone.
function(core_ha_unite sources name)
  if(NOT CORE_HA_UNITE)
    return()
  endif()
  set(united)
  foreach(source ${${sources}})
    file(RELATIVE_PATH source ${PROJECT_SOURCE_DIR}/native/src ${source})
    get_filename_component(directory ${source} DIRECTORY)
    string(MAKE_C_IDENTIFIER ${directory} group)
    string(APPEND includes_${group} "#include \"${source}\"\n")
    list(APPEND united ${group})
  endforeach()
  list(REMOVE_DUPLICATES united)
  foreach(group ${united})
    file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/united/${name}/${group}.cc CONTENT "${includes_${group}}")
  endforeach()
  list(TRANSFORM united REPLACE "(.+)" "${PROJECT_BINARY_DIR}/united/${name}/\\1.cc")
  set(${sources} ${united} PARENT_SCOPE)
endfunction()
