"""The routes: requests read within limits, people let in by token, refusals in our own words.

The OpenAI route takes the last user message as the text, and `user` as the subject. What would
change a validated answer (earlier turns, instructions, sampling) is not read.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from .answering import Asked, Gateway
from .metrics import TYPE
from .tokens import Caller

HEAD, SUBJECT = 16_384, 256
BYTES = 12  # of one character at most, as JSON may write it: \ud83d\ude00
KINDS, ARMS = ("traffic", "sentinel", "rehearsal"), ("stable", "canary", None)
ASKERS = ("caller", "operator")
Body = dict[str, Any]


class TurnedAway(Exception):
    """A request that is refused before a model is asked, in words that repeat none of it."""

    def __init__(self, status: int, what: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(what)
        self.status, self.headers = status, headers


def refused(status: int, what: str, headers: dict[str, str] | None = None, **more: Any) -> Response:
    """A refusal that OpenAI's clients read too."""
    about = {"message": what, "type": "invalid_request_error" if status < 500 else "server_error"}
    return JSONResponse({"error": about} | more, status, headers)


def let_in(gateway: Gateway, request: Request, *roles: str) -> Caller:
    """Who asks. TurnedAway (401, 403, 429) for nobody, another role, and too often."""
    caller = gateway.tokens.who(request.headers.get("authorization"))
    if caller is None:
        raise TurnedAway(401, "A bearer token is needed.", {"WWW-Authenticate": "Bearer"})
    if caller.role not in roles:
        raise TurnedAway(403, "The token's role may not do this.")
    wait = gateway.rates.wait(caller.name) if caller.role in ASKERS else 0
    if wait:
        raise TurnedAway(429, "Too many requests in a minute.", {"Retry-After": str(wait)})
    return caller


async def read(request: Request, most: int, seconds: float) -> Body:
    """The JSON object of a request. TurnedAway for what is too long, too slow, or none."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise TurnedAway(415, "The body has to be application/json.")
    held = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                held += part
                if len(held) > most:
                    raise TurnedAway(413, f"The body is longer than {most} bytes.")
        body = json.loads(held.decode())
    except TimeoutError:
        raise TurnedAway(408, "The body came too slowly.", {"Connection": "close"}) from None
    except (ValueError, RecursionError, ClientDisconnect):
        raise TurnedAway(400, "The body is not JSON in UTF-8.") from None
    if not isinstance(body, dict):
        raise TurnedAway(400, "The body has to be a JSON object.")
    return body


def checked(value: Any, name: str, most: int) -> str:
    """A text of a request. TurnedAway for none, and for half a character (a lone surrogate)."""
    if not isinstance(value, str) or any("\ud800" <= one <= "\udfff" for one in value):
        raise TurnedAway(400, f"{name} has to be text.")
    if len(value) > most:
        raise TurnedAway(413, f"{name} has at most {most} characters.")
    if not value.strip():
        raise TurnedAway(400, f"{name} is empty.")
    return value


def told_by(request: Request, caller: Caller) -> dict[str, Any]:
    """Kind, case and arm, which an operator may ask for. TurnedAway for anybody else."""
    kind, case, arm = (request.headers.get(f"x-workbench-{n}") for n in ("kind", "case", "arm"))
    if (kind, case, arm) != (None, None, None) and caller.role != "operator":
        raise TurnedAway(403, "Only an operator may ask for a kind, a case or an arm.")
    if kind not in (*KINDS, None) or arm not in ARMS or len(case or "") > SUBJECT:
        raise TurnedAway(400, "There is no such kind, case or arm.")
    return {"kind": kind or KINDS[0], "case": case, "arm": arm}


def predicting(body: Body) -> tuple[Any, Any]:
    """Text and subject of /v1/predict. TurnedAway for a field that nobody reads."""
    if body.keys() - {"text", "subject"}:
        raise TurnedAway(400, "A field is unknown: text and subject are read.")
    return body.get("text"), body.get("subject")


def chatting(body: Body) -> tuple[Any, Any]:
    """Text and subject of a chat. TurnedAway for what would not be done as asked."""
    if body.get("stream") or body.get("n") not in (None, 1) or body.get("tools"):
        raise TurnedAway(400, "One whole answer is given: no stream, no tools, n = 1.")
    turns = body.get("messages") if isinstance(body.get("messages"), list) else []
    said = [one for one in turns if isinstance(one, dict) and one.get("role") == "user"]
    return said[-1].get("content") if said else None, body.get("user")


def completion(usecase: str, told: Body) -> Body:
    """What was told, as OpenAI's chat completions say it: lines `name: value`, and the rest."""
    content = "\n".join(f"{name}: {value}" for name, value in told["answer"].items())
    message = {"role": "assistant", "content": content}
    return {
        "id": f"chatcmpl-{told['decision']}", "object": "chat.completion", "model": usecase,
        "created": int(time.time()), "workbench": told,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
    }  # fmt: skip


async def answered(
    gateway: Gateway, request: Request, parts: Callable[[Body], tuple[Any, Any]]
) -> tuple[int, Body, dict[str, str]]:
    """Status, what is told, headers; a request that can't be read is a decision too."""
    limits, caller = gateway.settings, let_in(gateway, request, *ASKERS)
    begun = time.perf_counter()
    try:
        more = told_by(request, caller)
        text, subject = parts(await read(request, HEAD + BYTES * limits.max_chars, limits.read_s))
        text = checked(text, "text", limits.max_chars)
        subject = None if subject is None else checked(subject, "subject", SUBJECT)
    except TurnedAway as error:
        nothing = Asked("", caller.name)
        gateway.log(nothing, error.status, begun, outcome="refused", reason="input")
        raise
    status, told = await gateway.answer(Asked(text, caller.name, subject, **more))
    about = {"X-Workbench-Decided-By": "machine", "X-Workbench-Release": str(told["release"])}
    return status, told, about | ({"Retry-After": "1"} if status == 503 else {})


def app(gateway: Gateway) -> FastAPI:
    """The routes of one gateway."""
    made, usecase = FastAPI(openapi_url=None), gateway.spec.usecase

    @made.post("/v1/predict")
    async def predict(request: Request) -> Response:
        status, told, headers = await answered(gateway, request, predicting)
        return JSONResponse(told, status, headers)

    @made.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        status, told, headers = await answered(gateway, request, chatting)
        if told["answer"] is None:
            return refused(status, told["say"], headers, workbench=told)
        return JSONResponse(completion(usecase, told), status, headers)

    @made.get("/v1/models")
    async def models(request: Request) -> Body:
        let_in(gateway, request, *ASKERS)
        one = {"id": usecase, "object": "model", "created": 0, "owned_by": "workbench"}
        return {"object": "list", "data": [one | {"releases": gateway.ready()[0]}]}

    @made.get("/healthz")
    async def healthy() -> Body:
        return {"alive": True}

    @made.get("/readyz")
    async def ready() -> Response:
        releases, why = gateway.ready()
        told = {"ready": bool(releases), "releases": releases, "why": why}
        return JSONResponse(told, 200 if releases else 503)

    @made.get("/metrics")
    async def metrics(request: Request) -> Response:
        let_in(gateway, request, "metrics", "operator")
        return Response(gateway.page(), media_type=TYPE)

    async def failed(_: Request, error: Exception) -> Response:
        """Whatever went wrong: in our words, and of a fault of our own nothing but its name."""
        if isinstance(error, TurnedAway):
            gateway.metrics.turned_away.labels(str(error.status)).inc()
            return refused(error.status, str(error), error.headers)
        if isinstance(error, HTTPException):
            return refused(error.status_code, "There is no such route.")
        print(f"gateway: {type(error).__name__}", file=sys.stderr, flush=True)
        return refused(503, "No answer could be given.")

    for kind in (TurnedAway, HTTPException, Exception):
        made.add_exception_handler(kind, failed)
    return made
