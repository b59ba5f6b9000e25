"""Catalogue of codes: every code of a failed task, with the only text that end users read.

Callbacks and the command line take their texts from here alone, so no text, URL or key of a vendor can leak. The
backend
expects the texts 生成超时 and 内容违规 (docs/backend.md).
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Code", "code_of", "text_of"]


class Code(StrEnum):
    """Reason why a task failed. Values are stable: operators search and alarm on them."""

    TIMEOUT = "timeout"
    NOT_UPLOADED = "not_uploaded"
    CANCELLED = "cancelled"
    CONTENT_VIOLATION = "content_violation"
    BAD_PICTURE = "bad_picture"
    FORMAT_HEIC = "format_heic"
    FORMAT_AVIF = "format_avif"
    FORMAT_TIFF = "format_tiff"
    FORMAT_GIF = "format_gif"
    FORMAT_OTHER = "format_other"
    PICTURE_TOO_LARGE = "picture_too_large"
    BAD_VIDEO = "bad_video"
    VIDEO_TOO_LARGE = "video_too_large"
    EMPTY_FILE = "empty_file"
    INPUT_CHANGED = "input_changed"
    INPUT_UNAVAILABLE = "input_unavailable"
    BAD_PARAMETERS = "bad_parameters"
    UNKNOWN_KIND = "unknown_kind"
    INVALID_ID = "invalid_id"
    TICKET_MISSING = "ticket_missing"
    TICKET_INVALID = "ticket_invalid"
    TICKET_EXPIRED = "ticket_expired"
    VENDOR_FAILED = "vendor_failed"
    VENDOR_REFUSED = "vendor_refused"
    VENDOR_UNKNOWN = "vendor_unknown"
    INCOMPLETE_RESULTS = "incomplete_results"
    BUSY = "busy"
    UNREADABLE = "unreadable"
    INTERNAL = "internal"


_TEXT: dict[Code, str] = {
    Code.TIMEOUT: "生成超时",
    Code.NOT_UPLOADED: "未上传",
    Code.CANCELLED: "已取消",
    Code.CONTENT_VIOLATION: "内容违规",
    Code.BAD_PICTURE: "图片无法识别，请重新上传 JPG、PNG 或 WebP 格式的图片",
    Code.FORMAT_HEIC: "暂不支持 HEIC 格式，请转换为 JPG、PNG、WebP 或 BMP 格式后重新上传",
    Code.FORMAT_AVIF: "暂不支持 AVIF 格式，请转换为 JPG、PNG、WebP 或 BMP 格式后重新上传",
    Code.FORMAT_TIFF: "暂不支持 TIFF 格式，请转换为 JPG、PNG、WebP 或 BMP 格式后重新上传",
    Code.FORMAT_GIF: "暂不支持 GIF 格式，请转换为 JPG、PNG、WebP 或 BMP 格式后重新上传",
    Code.FORMAT_OTHER: "暂不支持该文件格式，请上传 JPG、PNG、WebP 或 BMP 格式的图片",
    Code.PICTURE_TOO_LARGE: "图片过大，请压缩到 32 MB、2.5 亿像素以内后重新上传",
    Code.BAD_VIDEO: "视频无法识别，请重新上传 MP4 或 MOV 格式的视频",
    Code.VIDEO_TOO_LARGE: "视频过大或过长，请压缩到 200 MB、60 秒以内后重新上传",
    Code.EMPTY_FILE: "上传的文件是空的，请重新上传图片",
    Code.INPUT_CHANGED: "处理过程中原图被替换，请重新提交任务",
    Code.INPUT_UNAVAILABLE: "无法下载图片，请检查图片链接后重新提交",
    Code.BAD_PARAMETERS: "任务参数有误，请检查后重新提交",
    Code.UNKNOWN_KIND: "不支持的任务类型，请检查后重新提交",
    Code.INVALID_ID: "任务编号不合法，请重新提交任务",
    Code.TICKET_MISSING: "缺少任务凭证，请重新提交任务",
    Code.TICKET_INVALID: "任务凭证无效，请重新提交任务",
    Code.TICKET_EXPIRED: "任务凭证已过期，请重新提交任务",
    Code.VENDOR_FAILED: "生成失败，请更换图片或稍后重试",
    Code.VENDOR_REFUSED: "生成服务未接受该任务，请稍后重试",
    Code.VENDOR_UNKNOWN: "生成服务未确认该任务，请稍后重试",
    Code.INCOMPLETE_RESULTS: "生成结果不完整，请稍后重试",
    Code.BUSY: "系统繁忙，请稍后重试",
    Code.UNREADABLE: "系统繁忙，请稍后重试",
    Code.INTERNAL: "系统繁忙，请稍后重试",
}


def code_of(text: str) -> Code:
    """Return the code with this value; `INTERNAL` for a code of a newer build."""
    try:
        return Code(text)
    except ValueError:
        return Code.INTERNAL


def text_of(code: str) -> str:
    """Return the text of a code; for a code of a newer build, the text of `INTERNAL`."""
    return _TEXT[code_of(code)]
