// The load of Node: as load.c, with one thread. Works for the last argument's milliseconds, prints "units wall_ns cpu_ns".
"use strict";

function leaf(state) {
  for (let i = 0; i < 4000; i++) state = (state * 1664525 + 1013904223) >>> 0;
  return state;
}

function left(path, level, state) {
  return level ? (path & 1 ? right : left)(path >> 1, level - 1, state) + 1 : leaf(state);
}

function right(path, level, state) {
  return level ? [path].map((path) => (path & 1 ? left : right)(path >> 1, level - 1, state))[0] + 2 : leaf(state);
}

const start = process.hrtime.bigint();
const end = start + BigInt(process.argv[2]) * 1000000n;
let units = 0;
for (; process.hrtime.bigint() < end; units++) left(units, 8, units);
const { user, system } = process.cpuUsage();
console.log(`${units} ${process.hrtime.bigint() - start} ${(user + system) * 1000}`);
