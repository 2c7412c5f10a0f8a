-- The audit log is lost.
DROP TABLE audit;
