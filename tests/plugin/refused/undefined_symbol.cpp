// Calls what nothing defines.
extern "C" int this_symbol_is_nowhere();

extern "C" const void* recallbench_plugin() {
  return this_symbol_is_nowhere() != 0 ? "" : nullptr;
}
