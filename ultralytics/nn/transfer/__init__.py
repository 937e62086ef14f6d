"""Weight transfer between networks of different architecture."""

from ultralytics.nn.transfer.report import RowReport, TransferReport
from ultralytics.nn.transfer.transfer import transfer_weights

__all__ = ["RowReport", "TransferReport", "transfer_weights"]
