"""Result files, behind URLs that expire, with their armed faults."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from sandbox.runninghub.handlers import RequestHandlers
from sandbox.spoiled_files import denied, file_or_spoiled, spoiled_file

__all__ = ["serve_file"]


async def serve_file(request: Request, handlers: RequestHandlers) -> Response:
    """Serve one file of one job."""
    fault = handlers.core.take("file")
    kind = fault.kind if fault else ""
    if fault and (spoiled := spoiled_file(kind, fault.status)):
        return spoiled
    query = request.query_params
    try:
        job, index = handlers.core.file(request.path_params["token"], query.get("expires", ""), query.get("sign", ""))
    except KeyError:
        return denied(404, "NoSuchKey")
    except PermissionError:
        return denied(403, "AccessDenied")
    body, media_type = await handlers.run(handlers.pictures.result, job, index)
    return file_or_spoiled(body, kind, media_type)
