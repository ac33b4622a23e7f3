"""Asking what serves, over a port or a Unix socket."""

from __future__ import annotations

from typing import Any

from ...errors import RunError

HEADERS = {"kind": "X-Workbench-Kind", "case": "X-Workbench-Case", "arm": "X-Workbench-Arm"}


class Client:
    """A caller of one gateway; close it, or use it as a context manager.

    Threads may share one. `token` is sent as a bearer token.
    """

    def __init__(
        self, url: str | None = None, uds: str | None = None, token: str | None = None,
        timeout_s: float = 60.0,
    ) -> None:  # fmt: skip
        import httpx

        self._where = uds or url
        self._http = httpx.Client(
            base_url=url or "http://gateway",
            transport=httpx.HTTPTransport(uds=uds) if uds else None,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=timeout_s,
            trust_env=False,
        )

    def predict(
        self, text: str, subject: str | None = None, kind: str = "traffic",
        case: str | None = None, arm: str | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """What the gateway said to this text, and `status`; of a refusal too.

        Kinds other than traffic, `case` and `arm` (stable, canary) are an operator's to ask for.
        RunError where nothing answers.
        """
        asked = {"kind": kind if kind != "traffic" else None, "case": case, "arm": arm}
        headers = {HEADERS[name]: value for name, value in asked.items() if value}
        body = {"text": text} | ({} if subject is None else {"subject": subject})
        return self.ask("POST", "/v1/predict", json=body, headers=headers)

    def ready(self) -> dict[str, Any]:
        """Whether it can answer, by which releases, or why not. RunError where nothing answers."""
        return self.ask("GET", "/readyz")

    def ask(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        """What a route says, and `status`. RunError where nothing answers."""
        import httpx

        try:
            reply = self._http.request(method, path, **more)
            said = reply.json()
        except (httpx.HTTPError, ValueError) as error:
            raise RunError("Nothing that serves answers there.", where=self._where,
                           given=type(error).__name__,
                           next_step="workbench serve --status") from error  # fmt: skip
        return said | {"status": reply.status_code}

    def close(self) -> None:
        """Let go of its connections."""
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
