# SPDX-License-Identifier: GPL-2.0-only
"""Runs programs in a machine, one at a time, for a client at the other end of standard input and output.

It answers as the agent of a tiny machine does, in the same messages: `crates/wire` has them. A frame is a length in
four bytes and a message in the form of postcard. When the client has gone, so has the program.
"""
import fcntl
import os
import select
import signal
import struct
import termios
import time

# crates/wire: WINDOW, MAX_MESSAGE, and the places of requests and replies among their kind.
WINDOW = 1 << 20
MAX_MESSAGE = 1 << 20
RUN, STDIN, STDIN_END, OUTPUT_TAKEN, RESIZE, SIGNAL = 7, 13, 14, 15, 16, 17
FAILED, INPUT_TAKEN, OUTPUT, EXITED = 2, 4, 5, 7

READ_AT_ONCE = 64 << 10
# What a program has left behind that goes on writing may never stop.
READ_AFTER_END = 1 << 20
# Ctrl-D.
END_OF_INPUT = b"\x04"
# How many seconds a program may take to end when its client has gone.
PATIENCE = 2


class Message:
    """A message that is read."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def number(self):
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def signed(self):
        value = self.number()
        return value >> 1 ^ -(value & 1)

    def bytes(self):
        length = self.number()
        self.at += length
        return self.data[self.at - length:self.at]

    def text(self):
        return os.fsdecode(self.bytes())

    def list(self, item):
        return [item() for _ in range(self.number())]

    def option(self, item):
        return item() if self.number() else None

    def size(self):
        return self.number(), self.number()


def number(value):
    data = bytearray()
    while value >= 0x80:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    data.append(value)
    return bytes(data)


def signed(value):
    return number(value << 1 if value >= 0 else ~value << 1 | 1)


def prefixed(data):
    return number(len(data)) + data


def say(kind, *parts):
    # The main channel's number is before what is said on it.
    message = number(0) + number(kind) + b"".join(parts)
    frame = memoryview(struct.pack("<I", len(message)) + message)
    while frame:
        frame = frame[os.write(1, frame):]


class Program:
    """A program that runs."""

    def __init__(self, arguments, environment, size):
        self.terminal, self.ends, actions = None, [], []
        if size:
            self.terminal, theirs = os.openpty()
            self.resize(size)
            self.ends = [theirs]
            # Whoever leads a session and opens a terminal gets it.
            actions.append((os.POSIX_SPAWN_OPEN, 0, os.ttyname(theirs), os.O_RDWR, 0))
            actions += [(os.POSIX_SPAWN_DUP2, 0, 1), (os.POSIX_SPAWN_DUP2, 0, 2)]
            self.input, self.outputs = os.dup(self.terminal), {self.terminal: 0}
        else:
            (stdin, self.input), (output, stdout), (errors, stderr) = os.pipe(), os.pipe(), os.pipe()
            self.ends = [stdin, stdout, stderr]
            actions += [(os.POSIX_SPAWN_DUP2, end, number) for number, end in enumerate(self.ends)]
            self.outputs = {output: 0, errors: 1}
        try:
            self.process = os.posix_spawnp(arguments[0], arguments, environment, file_actions=actions, setsid=True,
                                           setsigmask=[], setsigdef=[signal.SIGPIPE, signal.SIGXFSZ])
        except OSError:
            self.close()
            raise
        finally:
            for end in self.ends:
                os.close(end)
        for end in [self.input, *self.outputs]:
            os.set_blocking(end, False)
        self.waiting, self.input_ended = bytearray(), False
        self.taken, self.room = 0, WINDOW

    def resize(self, size):
        if self.terminal is not None:
            fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))

    def signal(self, number):
        try:
            os.killpg(self.process, number)
        except OSError:
            # It is gone, or there is no such signal.
            pass

    def feed(self, data):
        if self.input is None:
            self.taken += len(data)
        else:
            self.waiting += data
        self.write_input()

    def end_input(self):
        if self.terminal is not None:
            return self.feed(END_OF_INPUT)
        self.input_ended = True
        self.write_input()

    def write_input(self):
        while self.waiting:
            try:
                length = os.write(self.input, self.waiting)
            except BlockingIOError:
                break
            except OSError:
                # Nobody reads it any more.
                length, self.input_ended = len(self.waiting), True
            self.taken += length
            del self.waiting[:length]
        if self.input_ended and not self.waiting and self.input is not None:
            os.close(self.input)
            self.input = None
        if self.taken >= WINDOW // 4:
            say(INPUT_TAKEN, number(self.taken))
            self.taken = 0

    def read_output(self, end, most):
        """Hands on what is there; gives how much that was, 0 where there is nothing now or for ever."""
        try:
            data = os.read(end, min(most, READ_AT_ONCE))
        except BlockingIOError:
            return 0
        except OSError:
            # A terminal that no program has open any more.
            data = b""
        if not data:
            del self.outputs[end]
            os.close(end)
            return 0
        say(OUTPUT, number(self.outputs[end]), prefixed(data))
        self.room -= len(data)
        return len(data)

    def close(self):
        for end in [self.input, *self.outputs]:
            if end is not None:
                os.close(end)

    def conclude(self, status):
        for end in list(self.outputs):
            left = READ_AFTER_END
            while left > 0 and end in self.outputs:
                length = self.read_output(end, left)
                if not length:
                    break
                left -= length
        self.close()
        if os.WIFSIGNALED(status):
            say(EXITED, number(1), signed(os.WTERMSIG(status)))
        else:
            say(EXITED, number(0), signed(os.WEXITSTATUS(status)))

    def hang_up(self):
        for number in [signal.SIGHUP, signal.SIGKILL]:
            self.signal(number)
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline:
                if os.waitpid(self.process, os.WNOHANG)[0]:
                    return
                time.sleep(0.02)


def run(message):
    """Starts a program; gives nothing where that fails, which is told."""
    arguments = message.list(message.text)
    environment = {**os.environ, **dict(message.list(lambda: (message.text(), message.text())))}
    size = message.option(message.size)
    message.option(message.text)
    step = "enter the folder of"
    try:
        os.chdir(message.text())
        step = "run"
        return Program(arguments, environment, size)
    except OSError as error:
        say(FAILED, prefixed(os.fsencode(f"{step} {arguments[0]}")), signed(error.errno))


def take(program, message):
    """Carries out a request; gives the program that runs now."""
    channel, kind = message.number(), message.number()
    if kind == RUN and channel == 0 and program is None:
        return run(message)
    if kind not in (STDIN, STDIN_END, OUTPUT_TAKEN, RESIZE, SIGNAL):
        raise SystemExit(f"a request of kind {kind} is not for machines with a distribution")
    if program is None:
        # It was on its way when the program ended.
        return None
    if kind == STDIN:
        program.feed(message.bytes())
    elif kind == STDIN_END:
        program.end_input()
    elif kind == OUTPUT_TAKEN:
        program.room = min(program.room + message.number(), WINDOW)
    elif kind == RESIZE:
        program.resize(message.size())
    else:
        program.signal(message.signed())
    return program


def frames(buffer):
    """Takes whole frames out of what has come."""
    while len(buffer) >= 4:
        length, = struct.unpack_from("<I", buffer)
        if length > MAX_MESSAGE:
            raise SystemExit(f"a message of {length} bytes is announced")
        if len(buffer) < 4 + length:
            return
        message = Message(bytes(buffer[4:4 + length]))
        del buffer[:4 + length]
        yield message


def serve(woken):
    program, buffer = None, bytearray()
    try:
        while True:
            poll = select.poll()
            poll.register(0, select.POLLIN)
            poll.register(woken, select.POLLIN)
            if program:
                if program.waiting:
                    poll.register(program.input, select.POLLOUT)
                for end in program.outputs if program.room > 0 else ():
                    poll.register(end, select.POLLIN)
            ready = {end for end, _ in poll.poll()}
            if 0 in ready:
                data = os.read(0, READ_AT_ONCE)
                if not data:
                    return
                buffer += data
                for message in frames(buffer):
                    program = take(program, message)
            if woken in ready:
                os.read(woken, READ_AT_ONCE)
            if program:
                program.write_input()
                for end in ready & program.outputs.keys():
                    if program.room > 0:
                        program.read_output(end, program.room)
                process, status = os.waitpid(program.process, os.WNOHANG)
                if process:
                    # What it says at its end can fail, and nothing is to be ended then.
                    last, program = program, None
                    last.conclude(status)
    finally:
        if program:
            program.hang_up()


def main():
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    serve(woken)


main()
