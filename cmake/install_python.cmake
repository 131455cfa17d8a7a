# How Python sources, data and executables are installed.

# Where the interpreter itself lives in the prefix, the prefix is a virtual environment with the
# ROS 2 wheels in it, and the executables name that interpreter and look after its environment.
# Elsewhere they take the first python3 on PATH, so that an activated environment is honoured.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
set(_safevla_environment_python "${CMAKE_INSTALL_PREFIX}/bin/python3")
if(EXISTS "${CMAKE_INSTALL_PREFIX}/pyvenv.cfg" AND EXISTS "${_safevla_environment_python}")
  set(SAFEVLA_IN_ENVIRONMENT "True")
else()
  set(SAFEVLA_IN_ENVIRONMENT "False")
endif()

# What `make build` installs again when only Python or data have changed. A symlink install takes
# no components.
if(AMENT_CMAKE_SYMLINK_INSTALL)
  set(_safevla_component)
else()
  set(_safevla_component COMPONENT safevla_sources)
endif()

# Installs the tree `source`, which may be missing, and removes from `destination` what the source
# no longer has, save the folders named after KEEP and compiled modules.
function(safevla_install_tree source destination)
  cmake_parse_arguments(PARSE_ARGV 2 ARG "" "" "KEEP")
  list(JOIN ARG_KEEP "|" keep)
  install(CODE "
    set(source \"${CMAKE_CURRENT_SOURCE_DIR}/${source}\")
    set(destination \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${destination}\")
    set(keep \"^(${keep})(/|\$)\")" ${_safevla_component})
  install(SCRIPT "${PROJECT_SOURCE_DIR}/cmake/remove_stale.cmake" ${_safevla_component})
  install(DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}/${source}/"
    DESTINATION "${destination}"
    ${_safevla_component}
    OPTIONAL
    PATTERN "__pycache__" EXCLUDE
    PATTERN "*.pyc" EXCLUDE
  )
endfunction()

# Installs an executable `name` that runs main() of the Python MODULE.
function(safevla_install_executable name)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "" "MODULE" "DESTINATION")
  set(MODULE "${ARG_MODULE}")
  if(SAFEVLA_IN_ENVIRONMENT)
    # Not a plain "#!": the kernel cuts long paths and splits at spaces.
    set(SHEBANG "#!/bin/sh\n'''exec' \"${_safevla_environment_python}\" \"$0\" \"$@\"\n' '''")
  else()
    set(SHEBANG "#!/usr/bin/env python3")
  endif()
  set(file "${CMAKE_CURRENT_BINARY_DIR}/executables/${name}")
  # A symlink install runs the file where it is generated.
  configure_file("${PROJECT_SOURCE_DIR}/cmake/executable.in" "${file}" @ONLY FILE_PERMISSIONS
    OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
  foreach(destination IN LISTS ARG_DESTINATION)
    install(PROGRAMS "${file}" DESTINATION "${destination}")
  endforeach()
endfunction()

# package.xml and safevla_ros/__init__.py both state the version, since ROS reads the one and Python
# the other.
function(safevla_check_version)
  file(STRINGS "${PROJECT_SOURCE_DIR}/safevla_ros/__init__.py" line REGEX "^__version__ = ")
  if(NOT line STREQUAL "__version__ = \"${${PROJECT_NAME}_VERSION}\"")
    message(FATAL_ERROR "package.xml has version ${${PROJECT_NAME}_VERSION}, but "
      "safevla_ros/__init__.py has: ${line}")
  endif()
endfunction()
