"""GET and POST with a deadline, and no more bytes than expected."""

import asyncio
import ssl
from collections.abc import Mapping
from pathlib import Path

import aiohttp

from weir.domain.errors import CredentialsError, UnavailableError

__all__ = ["fetch", "tls_of"]


async def fetch(
    session: aiohttp.ClientSession,
    url: str,
    *,
    timeout_s: float,
    most_bytes: int,
    form: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
) -> tuple[int, bytes]:
    """Status and body; with `form` it is posted. Raises `UnavailableError`."""
    body = bytearray()
    try:
        async with (
            asyncio.timeout(timeout_s),
            session.request(
                "GET" if form is None else "POST",
                url,
                data=form,
                headers=headers,
                ssl=True if tls is None else tls,
                allow_redirects=False,
            ) as response,
        ):
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > most_bytes:
                    raise UnavailableError(f"{url}: the answer has more than {most_bytes} bytes")
            return response.status, bytes(body)
    except TimeoutError:
        raise UnavailableError(f"{url}: no answer in {timeout_s:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise UnavailableError(f"{url}: {error}") from None


def tls_of(ca: str | Path | None) -> ssl.SSLContext | None:
    """Trust in this authority only; None is the system's. Raises `CredentialsError`."""
    if ca is None:
        return None
    try:
        return ssl.create_default_context(cafile=str(ca))
    except OSError as error:
        raise CredentialsError(f"cannot use the authority in {ca}: {error}") from None
