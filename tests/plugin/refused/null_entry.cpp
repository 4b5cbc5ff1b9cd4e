// Its entry is none.
extern "C" const void* recallbench_plugin() {
  return nullptr;
}
