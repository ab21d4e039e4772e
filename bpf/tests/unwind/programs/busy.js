// Compiled JavaScript, regular expressions, callbacks out of C++, for ever.
function fib(n) { return n < 2 ? n : fib(n - 1) + fib(n - 2) }
console.log('ready')
for (;;) {
  fib(15)
  'aaaaaaaaaaaaaa'.match(/(a+)+b/)
  JSON.parse(JSON.stringify([...Array(50).keys()]))
  ;[...Array(100).keys()].sort((a, b) => b - a).map(x => x * 2)
}
