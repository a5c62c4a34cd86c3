// The source of windows.exe and windows.pdb, made with:
// clang --target=x86_64-pc-windows-msvc -g -gcodeview -O1 -c shop.c && lld-link /debug /entry:start /subsystem:console /nodefaultlib shop.obj
__attribute__((noinline)) int deepest(int *order) { return *order + 1; }
static inline __attribute__((always_inline)) int checked(int *order) { return deepest(order) * 3; }
__attribute__((noinline)) int charge(int *order) { return checked(order) + 7; }
int start(void) { int order = 4; return charge(&order); }
