"""Programs compiled and run for the tests: they print the addresses of their own functions and wait."""

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rover_bpf.symbols import Symbolizer
from rover_core.model import Frame, ProcessKey

PROGRAM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

__attribute__((noinline)) int exported_function(int x) { return x * 3 + 1; }
__attribute__((noinline)) static int hidden_function(int x) { return x * 5 + exported_function(x); }
int data_not_function = 42;

/* A call as the last instruction: its return address is where the next function begins. */
__asm__(".text\n.globl ends_in_call\n.type ends_in_call,@function\nends_in_call:\nnop\ncall exported_function\n"
        ".size ends_in_call,.-ends_in_call\n.globl comes_next\n.type comes_next,@function\ncomes_next:\nret\n"
        ".size comes_next,.-comes_next\n.zero 64\n.globl bare_label\nbare_label:\nnop\nnop\nret\n");
void ends_in_call(void); void comes_next(void); void bare_label(void);

int main(int argc, char **argv) {
    char line[512];
    printf("exported_function %p\n", (void *)exported_function);
    printf("hidden_function %p\n", (void *)hidden_function);
    printf("data_not_function %p\n", (void *)&data_not_function);
    printf("ends_in_call %p\n", (void *)ends_in_call);
    printf("comes_next %p\n", (void *)comes_next);
    printf("bare_label %p\n", (void *)bare_label);
    printf("ready 0\n");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        if (strncmp(line, "exec ", 5) == 0) execl(line + 5, line + 5, (char *)0);
#ifdef WITH_DLOPEN
        void *library = dlopen(line, RTLD_NOW);
        printf("library_function %p\nready 0\n", library ? dlsym(library, "library_function") : 0);
#endif
        fflush(stdout);
    }
    return hidden_function(argc) == 12345;
}
"""


@dataclass
class Program:
    """A running program and what it said: names to addresses."""

    popen: subprocess.Popen[str]
    addresses: dict[str, int] = field(default_factory=dict)

    @property
    def key(self) -> ProcessKey:
        stat = Path(f"/proc/{self.popen.pid}/stat").read_text()
        return ProcessKey(self.popen.pid, int(stat.rpartition(")")[2].split()[19]))

    def listen(self) -> None:
        """Read `name address` lines until it says `ready`."""
        assert self.popen.stdout
        for line in self.popen.stdout:
            name, address = line.rsplit(None, 1)
            if name == "ready":
                return
            self.addresses[name] = int(address, 16)
        raise AssertionError("the program ended early")

    def say(self, line: str) -> None:
        assert self.popen.stdin
        self.popen.stdin.write(line + "\n")
        self.popen.stdin.flush()
        self.listen()

    def end(self) -> None:
        self.popen.kill()
        self.popen.wait()


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """compiled(name, *flags): the program above (or `source`), built once a session."""
    directory = tmp_path_factory.mktemp("programs")

    def compile_(name: str, *flags: str, source: str = PROGRAM, compiler: str = "gcc") -> Path:
        output = directory / name
        if not output.exists():
            language = "c++" if compiler == "g++" else "c"
            command = [compiler, "-O1", "-x", language, "-", "-o", str(output), *flags]
            subprocess.run(command, input=source, text=True, check=True)
        return output

    return compile_


@pytest.fixture
def run() -> Iterator[Callable[..., Program]]:
    """run(*command): a program that has said all its addresses; ended after the test."""
    programs: list[Program] = []

    def run_(*command: str | Path) -> Program:
        popen = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        programs.append(Program(popen))
        programs[-1].listen()
        return programs[-1]

    yield run_
    for program in programs:
        program.end()
        for pipe in (program.popen.stdin, program.popen.stdout):
            assert pipe
            pipe.close()


@pytest.fixture
def symbolizer() -> Symbolizer:
    return Symbolizer()


@pytest.fixture
def name_of(symbolizer: Symbolizer) -> Callable[[ProcessKey, int], Frame]:
    """The frame of one address, as the leaf of a stack."""
    return lambda key, address: symbolizer.user(key, [address])[0]
