"""From de-identified FHIR records to facts."""

from mappings.from_fhir.mapper import MAPPERS, map_groups, map_records, map_unique

__all__ = ["MAPPERS", "map_groups", "map_records", "map_unique"]
