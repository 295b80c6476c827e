"""Readers of folders, archives, RecordIO and verification pairs."""
