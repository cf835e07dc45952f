"""Samples of the Responses wire."""

from __future__ import annotations

from typing import Any

import msgspec

TOKEN = {"token": "Hi", "bytes": [72, 105], "logprob": -0.1, "top_logprobs": []}
CITATION = {"type": "url_citation", "start_index": 0, "end_index": 2, "title": "T", "url": "https://example.test/"}
TEXT = {"type": "output_text", "annotations": [], "logprobs": [], "text": "Hi"}
MESSAGE = {"id": "msg_1", "type": "message", "status": "completed", "content": [TEXT], "role": "assistant"}
CITING = {
    **MESSAGE,
    "id": "msg_2",
    "content": [
        TEXT,
        {"type": "output_text", "annotations": [CITATION, CITATION], "logprobs": [TOKEN], "text": "Hé\n"},
    ],
}
CALL = {
    "id": "fc_1",
    "type": "function_call",
    "status": "completed",
    "arguments": '{"a":1}',
    "call_id": "call_1",
    "name": "f",
}
CUSTOM = {
    "id": "ct_1",
    "type": "custom_tool_call",
    "status": "completed",
    "input": "x = 1",
    "call_id": "call_2",
    "name": "g",
}
REASONING = {
    "id": "rs_1",
    "type": "reasoning",
    "summary": [{"type": "summary_text", "text": "First."}, {"type": "summary_text", "text": "Then."}],
    "encrypted_content": "gAAA",
}
OPEN_REASONING = {**REASONING, "id": "rs_2", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]}
USAGE = {
    "input_tokens": 10,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 15,
}
RESPONSE: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1741476777,
    "status": "completed",
    "completed_at": 1741476778,
    "background": False,
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "max_output_tokens": None,
    "model": "gpt-5",
    "output": [MESSAGE],
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "default",
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "usage": USAGE,
    "user": None,
    "metadata": {},
}
REFUSING = {**MESSAGE, "content": [{"type": "refusal", "refusal": "No."}]}
SEARCH = {"id": "ws_1", "type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "q"}}


def response(*output: Any, **fields: Any) -> bytes:
    return msgspec.json.encode({**RESPONSE, "output": list(output) or [MESSAGE], **fields})


ALL_KINDS = response(REASONING, OPEN_REASONING, MESSAGE, CITING, CALL, CUSTOM)
