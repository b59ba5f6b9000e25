"""Checks of the jobs that videos need on the data bucket: the audit and the visible label. They are billed."""

from __future__ import annotations

import asyncio
import base64
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from services.checks import Check
from services.objects.checks import tidied
from services.objects.port import Objects, VideoLabel

__all__ = ["CHECKED_SIDE", "WAIT_S", "video_checks"]

CHECKED_SIDE: Final = 256
"""Width and height of the video that is checked, in pixels."""

WAIT_S: Final = 20.0
"""Seconds to wait for the end of a job, at most."""

_LOOK_S: Final = 1.0
_VIDEO: Final = zlib.decompress(
    base64.b85decode(
        "c-o~^UuYaf7@xbdNl>vO5n6~i#a2*rm)*PTr8!tgJd205ke3#b!a6%Mn_X{bcQZTpuOQkyXi?~63w<c*qfkM85fvXqeXwtW(xz0@7fnFwYZa37"
        "o4s7`+N2^n?9TVi_kF+L%=dkBdk7)ys&4Ejkw7Smw1l@vTGSMA*+d9UxRP^(avust6vSK_+tce^ym@rvi(l93pPZk*j@O>L^+%^zDdRk*k>uE{"
        "90s*s0MpFz#iK9g%Xr~r4SbAKaMYr>8*o?QqG6QsMWd*rJ*DF6%uKu8F0_2cqkx2kNG{E2-h!t@05MUl{3uMSm=cFj%fynqmRZ4!J3&MnmRU8b"
        "1|}g1x(T<8PN`~i%u)#pZZ(C6lcocjY2Y~N0vKjnGRrI&fPx7Nzr&fGastGbBwXTFv5cuFBSCD9#Y*xZ@Dr<uk93YOs=!2-g=N4Q2s<5x05GRb"
        "6T2i)cAPZ)SV!~;mSa0|-GnPEU&P9jfJnd_L{Woyu&{@=B=9L88VnrDbPwtaqVzfZP;nU$2m-qkG$rZUG!ijUu%=KXC5ayb1q4c>V_ZoD*W8XB"
        "cR}}4q)ix!6{O?Xj!*PX%$FSUD&aQwmptVFB8quvFGVqU`^Fdm4c-OrJBls*P#>J~kkh8J$_7ri*7cM;@c=8SeJ5AINorB)V&OndbxN?X%7+UE"
        "Ue<|NMxg>~tZ7q8I#y*4ltl5^Dq}x}2ElcJ{=rsc8Je#<iQa-6Ti|C`&@;WQtH<8hc(&7SuK!s7>-gf&KTUjlYxc8CTea5_I<|1`>EB-Z{nHCm"
        "<39l6!G(*DU0<;gnq7sJ!OxyS552jyHn#cviRTVo*|_l4pQkn(H_xrkwa7K~<U6p*Sg`-Q^Pk^%`@r11`f@jh6_oG&M~2J)`wYO4drd@93#@@?"
        "c?{h(a_b1~T}2tBpW(>d9d++|9{uCU!t*Y4yaD<t)kycu?PS}#x&!$y_RS2<2RTy-$SEEqYKYLhcsnSY70f4~V8QOqeLjsj@pZb$dn}LxkN)nA"
        "MxNB)p*jg!z;#UK1GtMWD3dLbl8zqpAnW_47~J=fG#+ls0QdEbNR$(R{!yY5HWG7Le{Anl3NV1Fj{5Je5j)1dUJvG3V69~sdc5}w+P?(y$}2BC"
        "I^oUhrsye?`{uoceHk?Ft=G<!Kc3#aeOrSk;pezr)$zpvVWQHC54N93D-9DQGO$0e?b99Kqrn<ScgIZuj*i&3eW@&i@AODAV9$OJ@)7O3kDN>t"
        "jYjwkc%3Fw`Ubozcq;WcFxqXnA(F&#Fj~31-@j6a-dB+(d;<RQ$e`vgla^a47EE}I;@_s-y*K"
    )
)
"""Four seconds of grey, H.264 in an mp4."""


def video_checks(objects: Objects, label: VideoLabel | None, *, nonce: Callable[[], str]) -> Sequence[Check]:
    """Return the checks of the audit of videos and of their visible label.

    Args:
        objects: the bucket of inputs and results.
        label: words as results get them; None where they get none.
        nonce: makes a new text, for keys that no other process uses.
    """
    found = [
        Check(
            "video audit",
            lambda: _audit(objects, f"staging/doctor/{nonce()}"),
            "turn the audit of videos on for COS_BUCKET; COS_AUDIT_VIDEO_BIZ_TYPE must be a policy of it; allow the key"
            " ci:CreateAuditingVideoJob and ci:DescribeAuditingVideoJob",
            needs="data bucket",
        )
    ]
    if label is not None:
        found.append(
            Check(
                "video labels",
                lambda: _label(objects, label, f"staging/doctor/{nonce()}"),
                "turn the media service of Cloud Infinite on for COS_BUCKET; allow the key ci:CreateMediaJobs,"
                " ci:DescribeMediaJobs and, of a sub-account, cam:PassRole: docs/how-to/deploy-on-scf.md",
                needs="data bucket",
            )
        )
    return found


@asynccontextmanager
async def _stored(objects: Objects, *keys: str) -> AsyncGenerator[None]:
    """Store the video under the first key; delete all keys at the end."""
    async with tidied(lambda: objects.delete(keys)):
        await objects.put(keys[0], _VIDEO, content_type="video/mp4")
        yield


async def _audit(objects: Objects, stem: str) -> str:
    async with _stored(objects, f"{stem}.mp4"):
        job = await objects.submit_video_audit(f"{stem}.mp4")

        async def has_ended() -> bool:
            return await objects.video_audit(job) is not None

        return "a video was audited" if await _waited(has_ended) else "the audit of a video is at work"


async def _label(objects: Objects, label: VideoLabel, stem: str) -> str:
    drawn = f"{stem}_drawn.mp4"
    async with _stored(objects, f"{stem}.mp4", drawn):
        job = await objects.submit_video_label(f"{stem}.mp4", drawn, label)

        async def has_ended() -> bool:
            return await objects.video_label(job)

        if not await _waited(has_ended):
            return "the job that labels a video is at work"
        await objects.head(drawn)
    return "a video was labelled"


async def _waited(has_ended: Callable[[], Awaitable[bool]]) -> bool:
    """Look at a job until it has ended; return False if it is at work after `WAIT_S` seconds."""
    clock = asyncio.get_running_loop().time
    until = clock() + WAIT_S
    while not await has_ended():
        if clock() >= until:
            return False
        await asyncio.sleep(_LOOK_S)
    return True
