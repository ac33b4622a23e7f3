"""The routes: requests read within limits, people let in by token, refusals in our own words.

The OpenAI route takes the last user message as the text, and `user` as the subject. What would
change a validated answer (earlier turns, instructions, sampling) is not read.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from .answering import Asked, Gateway
from .metrics import TYPE
from .tokens import Caller

HEAD = 16_384
SUBJECT = 256
KINDS, ARMS = ("traffic", "sentinel", "rehearsal"), ("stable", "canary", None)
ASKERS = ("caller", "operator")


class TurnedAway(Exception):
    """A request that is refused before a model is asked, in words that repeat none of it."""

    def __init__(self, status: int, what: str, **headers: str) -> None:
        super().__init__(what)
        self.status, self.what = status, what
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def said(status: int, what: str, headers: dict[str, str] | None = None, **more: Any) -> Response:
    """A refusal, as OpenAI's clients read it too."""
    about = {"message": what, "type": "invalid_request_error" if status < 500 else "server_error"}
    return JSONResponse({"error": about} | more, status, headers)


class Door:
    """Reads requests for one gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway, self.limits = gateway, gateway.settings

    def let_in(self, request: Request, *roles: str) -> Caller:
        """Who asks. TurnedAway (401, 403, 429) for nobody, another role, and too often."""
        caller = self.gateway.tokens.who(request.headers.get("authorization"))
        if caller is None:
            raise TurnedAway(401, "A bearer token is needed.", WWW_Authenticate="Bearer")
        if caller.role not in roles:
            raise TurnedAway(403, "The token's role may not do this.")
        wait = self.gateway.rates.wait(caller.name) if caller.role in ASKERS else 0
        if wait:
            raise TurnedAway(429, "Too many requests in a minute.", Retry_After=str(wait))
        return caller

    async def read(self, request: Request) -> dict[str, Any]:
        """The JSON object of a request. TurnedAway for what is too long, too slow or none."""
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise TurnedAway(415, "The body has to be application/json.")
        held, most = bytearray(), HEAD + 12 * self.limits.max_chars  # \ud83d\ude00 is one character
        try:
            async with asyncio.timeout(self.limits.read_s):
                async for part in request.stream():
                    held += part
                    if len(held) > most:
                        raise TurnedAway(413, f"The body is longer than {most} bytes.")
            body = json.loads(held.decode("utf-8"))
        except TimeoutError:
            raise TurnedAway(408, "The body came too slowly.", Connection="close") from None
        except ClientDisconnect:
            raise TurnedAway(400, "The body ended too early.") from None
        except (ValueError, RecursionError):
            raise TurnedAway(400, "The body is not JSON in UTF-8.") from None
        if not isinstance(body, dict):
            raise TurnedAway(400, "The body has to be a JSON object.")
        return body

    def asked(self, request: Request, caller: Caller, text: Any, subject: Any) -> Asked:
        """The request, its fields checked. TurnedAway for one that does not fit."""
        for name, value in (("text", text), ("subject", subject)):
            if value is not None and not (isinstance(value, str) and _encodable(value)):
                raise TurnedAway(400, f"{name} has to be text.")
        if not text or not text.strip():
            raise TurnedAway(400, "There is no text.")
        if len(text) > self.limits.max_chars:
            raise TurnedAway(413, f"A text has at most {self.limits.max_chars} characters.")
        if subject and len(subject) > SUBJECT:
            raise TurnedAway(413, f"A subject has at most {SUBJECT} characters.")
        kind, case, arm = (request.headers.get(f"x-workbench-{n}") for n in ("kind", "case", "arm"))
        if (kind, case, arm) != (None, None, None) and caller.role != "operator":
            raise TurnedAway(403, "Only an operator may ask for a kind, a case or an arm.")
        kind = kind or KINDS[0]
        if kind not in KINDS or arm not in ARMS or len(case or "") > SUBJECT:
            raise TurnedAway(400, "There is no such kind, case or arm.")
        return Asked(text, caller.name, subject or None, kind, case, arm)  # type: ignore[arg-type]

    async def answer(self, request: Request, parts: Any) -> tuple[int, dict[str, Any]]:
        """What a request comes to; `parts` takes text and subject from its body. One that can't be
        read is a decision too."""
        caller, begun = self.let_in(request, *ASKERS), time.perf_counter()
        try:
            asked = self.asked(request, caller, *parts(await self.read(request)))
        except TurnedAway as error:
            self.gateway.turn_away("", caller.name, error.status, time.perf_counter() - begun)
            raise
        return await self.gateway.answer(asked)


def _encodable(text: str) -> bool:
    """Not half of a character: a lone surrogate can't be written down."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def predicting(body: dict[str, Any]) -> tuple[Any, Any]:
    """Text and subject of /v1/predict. TurnedAway for a field that nobody reads."""
    if unknown := body.keys() - {"text", "subject"}:
        raise TurnedAway(400, f"{len(unknown)} fields are unknown; text and subject are read.")
    return body.get("text"), body.get("subject")


def chatting(body: dict[str, Any]) -> tuple[Any, Any]:
    """Text and subject of a chat. TurnedAway for what would not be done as asked."""
    if body.get("stream") or body.get("n") not in (None, 1) or body.get("tools"):
        raise TurnedAway(400, "One whole answer is given: no stream, no tools, n = 1.")
    turns = body.get("messages")
    turns = turns if isinstance(turns, list) else []
    texts = [turn.get("content") for turn in turns
             if isinstance(turn, dict) and turn.get("role") == "user"]  # fmt: skip
    text = texts[-1] if texts else None
    if isinstance(text, list):
        parts = [part.get("text") if isinstance(part, dict) else None for part in text]
        if not all(isinstance(part, str) for part in parts):
            raise TurnedAway(400, "A message holds text only.")
        text = "\n".join(parts)
    return text, body.get("user")


def completion(usecase: str, told: dict[str, Any]) -> dict[str, Any]:
    """What was told, as OpenAI's chat completions say it: lines `name: value`, and the rest."""
    content = "\n".join(f"{name}: {value}" for name, value in told["answer"].items())
    message = {"role": "assistant", "content": content}
    return {
        "id": f"chatcmpl-{told['decision']}", "object": "chat.completion", "model": usecase,
        "created": int(time.time()), "workbench": told,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
    }  # fmt: skip


def headers(status: int, told: dict[str, Any]) -> dict[str, str]:
    """That a machine decided, by which release; and when to come back."""
    found = {"X-Workbench-Decided-By": "machine", "X-Workbench-Release": told["release"] or "none"}
    return found | ({"Retry-After": "1"} if status == 503 else {})


def app(gateway: Gateway) -> FastAPI:
    """The routes of one gateway."""
    made, door, usecase = FastAPI(openapi_url=None), Door(gateway), gateway.spec.usecase

    @made.post("/v1/predict")
    async def predict(request: Request) -> Response:
        status, told = await door.answer(request, predicting)
        return JSONResponse(told, status, headers(status, told))

    @made.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        status, told = await door.answer(request, chatting)
        if told["answer"] is None:
            return said(status, told["say"], headers(status, told), workbench=told)
        return JSONResponse(completion(usecase, told), status, headers(status, told))

    @made.get("/v1/models")
    async def models(request: Request) -> dict[str, Any]:
        door.let_in(request, *ASKERS)
        one = {"id": usecase, "object": "model", "created": 0, "owned_by": "workbench"}
        return {"object": "list", "data": [one | {"releases": gateway.ready()[0]}]}

    @made.get("/healthz")
    async def healthy() -> dict[str, bool]:
        return {"alive": True}

    @made.get("/readyz")
    async def ready() -> Response:
        releases, why = gateway.ready()
        told = {"ready": bool(releases), "releases": releases, "why": why}
        return JSONResponse(told, 200 if releases else 503)

    @made.get("/metrics")
    async def metrics(request: Request) -> Response:
        door.let_in(request, "metrics", "operator")
        return Response(gateway.page(), media_type=TYPE)

    @made.exception_handler(TurnedAway)
    async def turned_away(_: Request, error: TurnedAway) -> Response:
        gateway.metrics.turned_away.labels(str(error.status)).inc()
        return said(error.status, error.what, error.headers)

    @made.exception_handler(Exception)
    async def broken(_: Request, error: Exception) -> Response:
        print(f"gateway: {type(error).__name__}", file=sys.stderr, flush=True)
        return said(503, "No answer could be given.")

    @made.exception_handler(HTTPException)
    async def unknown(_: Request, error: HTTPException) -> Response:
        return said(error.status_code, "There is no such route.")

    return made
