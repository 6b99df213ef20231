"""The part of a rehearsal server that speaks of notebooks: push, status, log, output, quota."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson

from kaggle_kit.rehearsal.dataset_calls import DatasetCalls
from kaggle_kit.rehearsal.exchange import Exchange
from kaggle_kit.rehearsal.kernel_host import OWNER, KernelHost, KernelRules, Version
from kaggle_kit.rehearsal.paging import send_page

Body = Mapping[str, Any]

SERVICE = "kernels.KernelsApiService"
LOG_ROUTE = "/api/v1/kernels/logs/stream/"
FILES_ROUTE = "/storage/kernels/"

MACHINES = (
    "NvidiaTeslaT4",
    "NvidiaTeslaP100",
    "NvidiaL4",
    "NvidiaL4X1",
    "NvidiaTeslaA100",
    "NvidiaH100",
    "NvidiaRtxPro6000",
    "TpuV5E8",
    "TpuV6E8",
)


class KernelCalls:
    """Answers the calls about notebooks.

    Args:
        folder: where versions and what they wrote lie.
        competition: slug and files of the one competition that can be attached.
        datasets: the data sets that can be attached.
        url: gives the server's address.
        environ: gives the variables that lead a session here.
        signed: makes a link of a route.
        rules: what sessions may do.
    """

    def __init__(
        self,
        folder: Path,
        competition: tuple[str, Path],
        datasets: DatasetCalls,
        *,
        url: Callable[[], str],
        environ: Callable[[], Mapping[str, str]],
        signed: Callable[[str], str],
        rules: KernelRules,
    ) -> None:
        self.host = KernelHost(folder, self._mounts, environ, rules)
        self._slug, self._files = competition
        self._datasets = datasets
        self._url = url
        self._signed = signed

    def calls(self) -> dict[str, Callable[[Exchange, Body], None]]:
        """The calls by their names in addresses."""
        return {
            f"{SERVICE}/SaveKernel": self.save,
            f"{SERVICE}/GetKernel": self.get,
            f"{SERVICE}/GetKernelSessionStatus": self.status,
            f"{SERVICE}/ListKernelSessionOutput": self.output,
            f"{SERVICE}/ListKernelFiles": self.files,
            f"{SERVICE}/ListKernels": self.list,
            f"{SERVICE}/GetAcceleratorQuotaStatistics": self.quota,
            f"{SERVICE}/CancelKernelSession": self.cancel,
        }

    # -- pushing -----------------------------------------------------------------------------------------------------

    def save(self, exchange: Exchange, body: Body) -> None:
        """SaveKernel: what is wrong with a push is told in an answer of 200, as the real service does."""
        kernel = str(body.get("slug", ""))
        if not re.fullmatch(rf"{OWNER}/[a-z0-9-]+", kernel):
            exchange.refuse(403, "Permission 'kernels.update' was denied", "PERMISSION_DENIED")
        elif error := self._refusal(body, kernel):
            exchange.send_json({"error": error})
        else:
            invalid = self._invalid(body)
            version = self.host.push(kernel, dict(body))
            exchange.send_json(
                {
                    "ref": f"/code/{kernel}",
                    "url": f"{self._url()}/code/{kernel}",
                    "versionNumber": version.number,
                    **{name: values for name, values in invalid.items() if values},
                    **self._session(version),
                }
            )

    def _refusal(self, body: Body, kernel: str) -> str:
        """Why nothing is saved; empty when it is."""
        title, machine = str(body.get("newTitle", "")), body.get("machineShape")
        if not body.get("isPrivate"):
            return "This server runs private notebooks only."
        if body.get("kernelType") != "script" or body.get("language") != "python":
            return "This server runs Python scripts only."
        if len(title) < 5 or re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") != kernel.partition("/")[2]:
            return "The title must have five characters at least and resolve to the slug."
        if machine and machine not in MACHINES:
            return f"Invalid machine shape: {machine}"
        if (machine or body.get("enableGpu")) and self.host.used_s() >= self.host.rules.gpu_hours * 3600:
            return f"Maximum weekly GPU quota of {self.host.rules.gpu_hours:.2f} hours exceeded."
        return ""

    def _invalid(self, body: Body) -> dict[str, list[str]]:
        """The sources that cannot be attached; the session runs without them."""
        own = str(body.get("slug"))
        return {
            "invalidCompetitionSources": [one for one in _list(body, "competition") if one != self._slug],
            "invalidDatasetSources": [one for one in _list(body, "dataset") if self._datasets.files_of(one) is None],
            "invalidKernelSources": [
                one for one in _list(body, "kernel") if one != own and self.host.version(one) is None
            ],
        }

    def _mounts(self, version: Version) -> dict[str, Path]:
        """What a version has attached, by its place below ``kaggle/input``."""
        body = version.pushed
        mounts = {f"competitions/{one}": self._files for one in _list(body, "competition") if one == self._slug}
        for ref in _list(body, "dataset"):
            if (files := self._datasets.files_of(ref)) is not None:
                mounts[f"datasets/{ref}"] = files
        for kernel in _list(body, "kernel"):
            if (earlier := self.host.output_of(kernel)) is not None:
                mounts[f"notebooks/{kernel}"] = earlier.folders.working
        return mounts

    # -- asking ------------------------------------------------------------------------------------------------------

    def _named(self, exchange: Exchange, body: Body) -> Version | None:
        """The version that a request is about; refused when there is none."""
        label = re.fullmatch(r"v(\d+)", str(body.get("versionLabel") or ""))
        kernel = f"{body.get('userName')}/{body.get('kernelSlug')}"
        version = self.host.version(kernel, int(label.group(1)) if label else None)
        if version is None:
            exchange.refuse(403, "Permission 'kernels.get' was denied", "PERMISSION_DENIED")
        return version

    def _session(self, version: Version) -> dict[str, int]:
        return {"kernelSessionId": version.session} if self.host.rules.tell_sessions else {}

    def get(self, exchange: Exchange, body: Body) -> None:
        """GetKernel: the code and what it has attached."""
        if (version := self._named(exchange, body)) is not None:
            blob = {"source": version.pushed.get("text"), "language": "python", "kernelType": "script"}
            exchange.send_json({"metadata": self._row(version), "blob": blob})

    def status(self, exchange: Exchange, body: Body) -> None:
        """GetKernelSessionStatus."""
        if (version := self._named(exchange, body)) is not None:
            answer = {"status": version.state, "failureMessage": version.message or None}
            exchange.send_json({**answer, **self._session(version)})

    def output(self, exchange: Exchange, body: Body) -> None:
        """ListKernelSessionOutput: files behind signed links, and the log of a session that has ended."""
        if (version := self._named(exchange, body)) is not None:
            base = f"{FILES_ROUTE}{version.kernel}/{version.number}/"
            rows = [
                {"fileName": name, "url": self._url() + self._signed(base + quote(name))} for name in version.outputs()
            ]
            log = orjson.dumps(version.log).decode() if version.finished else None
            send_page(exchange, body, "files", rows if version.finished else [], log=log)

    def files(self, exchange: Exchange, body: Body) -> None:
        """ListKernelFiles: names and sizes."""
        if (version := self._named(exchange, body)) is not None:
            rows = [{"name": name, "size": path.stat().st_size} for name, path in version.outputs().items()]
            send_page(exchange, body, "files", rows)

    def file(self, route: str) -> Path | None:
        """The file behind a link of :meth:`output`; None when there is none."""
        owner, slug, number, name = [*route.removeprefix(FILES_ROUTE).split("/", 3), "", "", ""][:4]
        version = self.host.version(f"{owner}/{slug}", int(number)) if number.isdecimal() else None
        return version.outputs().get(name) if version is not None else None

    def list(self, exchange: Exchange, body: Body) -> None:
        """ListKernels: the newest version of each, the newest first."""
        newest = {version.kernel: version for version in self.host.versions}
        rows = sorted(newest.values(), key=lambda version: -version.session)
        wanted = body.get("user") in (None, "", OWNER)
        send_page(exchange, body, "kernels", [self._row(version) for version in rows] if wanted else [])

    def _row(self, version: Version) -> dict[str, Any]:
        return {
            "ref": version.kernel,
            "title": version.pushed.get("newTitle"),
            "author": OWNER,
            "slug": version.kernel.partition("/")[2],
            "lastRunTime": _stamp(version.asked),
            "isPrivate": True,
            "currentVersionNumber": version.number,
            "machineShape": version.pushed.get("machineShape"),
        }

    def quota(self, exchange: Exchange, body: Body) -> None:
        """GetAcceleratorQuotaStatistics; zeros are left out, as the real service does."""
        now = datetime.now(UTC)
        saturday = now + timedelta(days=(5 - now.weekday()) % 7 or 7)
        used = self.host.used_s()
        gpu = {
            "timeUsed": f"{used:.3f}s" if used else None,
            "totalTimeAllowed": f"{self.host.rules.gpu_hours * 3600:.0f}s",
        }
        exchange.send_json(
            {
                "quotaRefreshTime": _stamp(saturday.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()),
                "gpuQuota": {name: value for name, value in gpu.items() if value},
            }
        )

    def cancel(self, exchange: Exchange, body: Body) -> None:
        """CancelKernelSession."""
        exchange.send_json({"errorMessage": self.host.cancel(int(body.get("kernelSessionId") or 0)) or None})

    # -- the log -----------------------------------------------------------------------------------------------------

    def stream(self, exchange: Exchange) -> None:
        """The log of the newest version: as events while it runs, as the stored list afterwards."""
        version = self.host.version(exchange.route.removeprefix(LOG_ROUTE))
        if version is None:
            exchange.refuse(403, "Permission 'kernels.get' was denied", "PERMISSION_DENIED")
        elif version.finished:
            exchange.send(200, orjson.dumps(version.log))
        elif not version.started:
            exchange.refuse(404, "Not found", "NOT_FOUND")
        else:
            exchange.send_events(self._events(version))

    def _events(self, version: Version) -> Iterable[bytes]:
        told = 0
        while True:
            with self.host.changed:
                if len(version.log) == told and not version.finished:
                    self.host.changed.wait(timeout=1.0)
                rows, finished = version.log[told:], version.finished
            told += len(rows)
            yield from map(orjson.dumps, rows)
            if finished and not rows:
                yield b"END_OF_LOG"
                return


def _list(body: Body, kind: str) -> list[str]:
    values = body.get(f"{kind}DataSources")
    return [str(value) for value in values] if isinstance(values, list) else []


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"
