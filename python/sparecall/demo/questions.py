"""What the agents say. Each question stands in several wordings: the first is asked, the others rephrase it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from random import Random

SYSTEM = (
    "You are a coding agent of a small team that maintains the Python standard library. Answer in a few sentences, "
    "from the source you are shown."
)

ABOUT_MODULE = (
    (
        "What is this module for, and which of its names are public?",
        "Give me the purpose of this module and the names that callers may rely on.",
        "Summarize the module. What does it export?",
    ),
    (
        "Which errors can the code in this file raise, and where?",
        "List the exceptions that may come out of this file, with their places.",
        "Where does this file raise, and what?",
    ),
    (
        "Is there anything in this file that breaks when it is called from two threads?",
        "Review this file for thread safety.",
        "Could two threads that use this file at once get in each other's way?",
    ),
    (
        "Which tests would you write first for this file?",
        "Suggest the most useful tests for this module.",
        "What in here most needs a test?",
    ),
)

ABOUT_FUNCTION = (
    (
        "What does {name} return, and what does it change on the way?",
        "Explain the result and the side effects of {name}.",
        "Tell me what comes back from {name} and what it touches.",
    ),
    (
        "Which inputs make {name} fail?",
        "When does {name} raise an error?",
        "How can a caller break {name}?",
    ),
    (
        "How does the running time of {name} grow with its input?",
        "What is the complexity of {name}?",
        "Is {name} fast on large inputs?",
    ),
)

FOLLOW_UPS = (
    "Which line is that?",
    "How would you change it?",
    "Are you sure? Look again and quote the line.",
    "What would a reviewer object to?",
)

TOOL_TASKS = (
    "Call read_file on '{path}' and say what you would document first.",
    "Call list_functions and read_file on '{path}', then name the function that is hardest to follow.",
    "A test of '{path}' fails at random. Call read_file and look for shared state.",
)

BRAINSTORM = "Think of five better names for {name}, as different from each other as you can."


def shown(path: str, text: str) -> str:
    """Source as it stands in a prompt."""
    return f"{path}:\n```python\n{text}\n```\n\n"


def retyped(text: str, draw: Random) -> str:
    """The same question below the same source, as another hand types it."""
    source, _, question = text.rpartition("\n\n")
    plain = question.rstrip("?. ")
    ways = (plain.upper(), plain.lower() + " ?", "  ".join(plain.split(" ")) + "??", f" {plain.capitalize()} !")
    return f"{source}\n\n{draw.choice(ways)}"


def edited(text: str, number: int) -> str:
    """The text after the smallest edit: one comment in its first line."""
    return f"# Edit {number}: the empty case is covered only by accident.\n{text}"


def tool(name: str, description: str) -> dict[str, Any]:
    """A function of one path, as the chat API describes it."""
    parameters = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


TOOLS = (
    tool("read_file", "The text of a file of the standard library."),
    tool("list_functions", "The functions of a file of the standard library, one a line."),
)
