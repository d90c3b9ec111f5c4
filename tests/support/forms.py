"""Bodies of forms with files, as clients send them."""

from __future__ import annotations


def form(parts: list[tuple[str, str | None, bytes]], boundary: str = "xYz") -> tuple[bytes, str]:
    body = b""
    for name, file_name, content in parts:
        disposition = f'form-data; name="{name}"'
        if file_name is not None:
            disposition += f'; filename="{file_name}"'
        body += f"--{boundary}\r\nContent-Disposition: {disposition}\r\n\r\n".encode()
        body += content + b"\r\n"
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"
