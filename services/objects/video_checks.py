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
        "c-nncUuYaf7@teDiKU20ga{EwOa<HAW%urSsey%tSUik@3Z{q@mf4xv?0P%9lbN~8T}5d76i`Gc{)-qCd=Y%HFQOp$poro_A6jU^zb`cvsjo#a=Q"
        "n#v@0!LAJM(?>{rP?Kec$XZLI{VZBV(Njgoco%Fw3MxT_LM3LTEHpoFg=RSTJJ1W@F#I-R}BN$FF~N?P~q=x2LY)tB>FKyIrnTaS_u@aqQNP09!A"
        "CXnOI)@n?!vJa=*)bc|C_%xAKb@X+A0<5Y@er);ewW901g^y=zrsTDJxB_u6nYI)k?mLek(u*sx}vsBMwN&-SX7b_lmZVfXYBpGdZ?yNKGV3Lxgq"
        "q*m_E3;19tyHk!UQ<L^Hv`~Y2TR=nXIOp3Jh$Y47c5xBZO;506I^^n(q-<ItC&VA6U4W^*eISPvG&UNX!|Im21Im4cn+L_u+v!z4(^oe;*e<LOWl"
        "a2wdet?NIwfh&5c(qV-qRx(4bAStU)5!_<fm9V#@mh2d65JL1RITJx81xt`Y)9AP<tJA|0P*LJ|Xe3Pm!C#3?|4p(55MR77x#9r&^Xe4Kmwgb`^V"
        "oxl%bVk5CwamcHJS9!b~nE*U8$y0whlc4PhB{(#A2e5B3zKBzMaLQ9oo5rg;I1g>>skn~7S5f~~uHdJrM^%VL05!EK!N#i|DLHt>CgM4z8nDvB=9"
        "IL(+Ec)2!=+cnv4jS}b%6dsD6#_0x1B_1;Kr8t+Bx)Ock73RSFayxuQoS-uK%-m;<sN%zrQi_<;K?h%LpyZz462!&;IqrI};<9!DIj2`h!=_`3TK"
        "?2)k*%b{6gLZe99#>Api7Gv7^o{mX({SpRYD{JZD1SUmXNo2c;0z8BvA;P8cOr{ts0?*<sIi!5t_G!d<cq1(prCPE_@Q32VfKMJ>7?cN_lcO66UC"
        "@6LV_*15l#~i*B4dSA^$Jr}xp)a1~%xIt!Jkh4_VR7-cQQ=R)Vgd{nY<KP!?F?G_Cf^hzmZ%+#edPx&PufpFoun+`)~4_lT!Rppv6jd|2ah?)db$"
        "Y)S8X7T15K6S9$#3}CP;w)OdHJxY(BEzx&J8z2tZUvy}75w9b>%Pg>?o{=L-xy)cqYjybScy7oUD$G&*LRVwb}3x3A5O7tlzwIe)f#Vd~$TH?8v+"
        "yb0S?J@EPtpf-8Mcf#M3S2~w#-S2*`vmGC&d)rTdJsps5>vB2?y3+$mfPCl@(EDLlw&|EQG#l`DU<OTQY^PrmJg0U%HrQ3T35rOW3|6QZ_pZ*tPf"
        "TV3AAz3=*{SVwq!rf6B^Ms2{2wxFhDH"
    )
)
"""Two seconds of grey, H.264 in an mp4."""


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
