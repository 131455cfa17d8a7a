# Removes from `destination` what `source` no longer has; see safevla_install_tree.
file(GLOB_RECURSE _entries LIST_DIRECTORIES true RELATIVE "${destination}" "${destination}/*")
foreach(_entry IN LISTS _entries)
  if(NOT _entry MATCHES "${keep}"
      AND NOT _entry MATCHES "(^|/)__pycache__(/|$)|\\.so$"
      AND NOT EXISTS "${source}/${_entry}")
    message(STATUS "Removing: ${destination}/${_entry}")
    file(REMOVE_RECURSE "${destination}/${_entry}")
  endif()
endforeach()
