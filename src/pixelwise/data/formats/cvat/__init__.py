"""CVAT: shapes and masks in XML files."""
