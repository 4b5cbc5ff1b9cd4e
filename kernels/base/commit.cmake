# Run at every build: writes OUTPUT, a header with the commit of the git work tree SOURCE, and
# touches it only when that changed. Without git, or where SOURCE is not the top of a work tree
# (unpacked inside another project's), the commit is empty.
set(commit "")
find_program(git git)
if(git)
  execute_process(COMMAND ${git} -C ${SOURCE} rev-parse --show-cdup
                  OUTPUT_VARIABLE above RESULT_VARIABLE failed ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(failed EQUAL 0 AND above STREQUAL "")
    execute_process(COMMAND ${git} --no-optional-locks -C ${SOURCE} describe --always --dirty --abbrev=7 --exclude=*
                    OUTPUT_VARIABLE commit ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
  endif()
endif()
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT "#define RECALLBENCH_COMMIT \"${commit}\"\n")
