# Run at every build: writes OUTPUT, a header with the commit of the git work tree SOURCE, and
# touches it only when that changed. Where what is built differs from the commit (the folders of
# code, changed or new files) "-dirty-" and a hash of the difference follow, so that two builds of
# different code have different names. Without git, or where SOURCE is not the top of a work tree
# (unpacked inside another project's), the commit is empty.
set(commit "")
set(code CMakeLists.txt kernels mixers tasks sweeps analysis)
find_program(git git)

# run_git(<variable> <arguments...>): what git says, empty where it fails.
function(run_git said)
  execute_process(COMMAND ${git} --no-optional-locks -C ${SOURCE} ${ARGN}
                  OUTPUT_VARIABLE text RESULT_VARIABLE failed ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(NOT failed EQUAL 0)
    set(text "")
  endif()
  set(${said} "${text}" PARENT_SCOPE)
endfunction()

if(git)
  run_git(top rev-parse --show-toplevel)
  run_git(above rev-parse --show-cdup)
  if(NOT top STREQUAL "" AND above STREQUAL "")
    run_git(commit rev-parse --short=7 HEAD)
  endif()
endif()
if(NOT commit STREQUAL "")
  run_git(difference diff --no-ext-diff --binary HEAD -- ${code})
  run_git(new ls-files --others --exclude-standard -- ${code})
  if(NOT "${difference}${new}" STREQUAL "")
    string(REPLACE "\n" ";" new "${new}")
    foreach(file IN LISTS new)
      if(EXISTS ${SOURCE}/${file})
        file(SHA1 ${SOURCE}/${file} hash)
        string(APPEND difference "${file} ${hash}")
      endif()
    endforeach()
    string(SHA1 hash "${difference}")
    string(SUBSTRING ${hash} 0 7 hash)
    string(APPEND commit "-dirty-${hash}")
  endif()
endif()
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT "#define RECALLBENCH_COMMIT \"${commit}\"\n")
