"""Messages as text, much as dig writes them: header, questions, answers. Texts in records are left out."""

from rover_core.wire import Message, Rendering
from rover_core.wire.rendering import shorten
from rover_dns.messages import RESPONSE, Dns
from rover_dns.numbers import TXT, code_name, opcode_name, type_name
from rover_dns.records import answers

_FLAGS = ((0x0400, "aa"), (0x0200, "tc"), (0x0100, "rd"), (0x0080, "ra"), (0x0020, "ad"), (0x0010, "cd"))


def render_message(message: Message[Dns], rendering: Rendering) -> str:
    detail = message.detail
    words = [opcode_name(detail.opcode), f"id {detail.id}"]
    if detail.flags & RESPONSE:
        words.insert(1, code_name(detail.rcode))
    flags = " ".join(name for bit, name in _FLAGS if detail.flags & bit)
    lines = [f"{', '.join(words)}; flags: {flags or 'none'}; answers: {detail.counts.answers}"]
    lines += [f";{question.name or '.'} {type_name(question.type)}" for question in detail.questions]
    if detail.flags & RESPONSE:
        secret = type_name(TXT)
        lines += [
            f"{each.name or '.'} {each.ttl} {each.type} {'...' if each.type == secret else each.data}".rstrip()
            for each in answers(detail, message.content)
        ]
    return shorten("\n".join(lines), rendering.most)
