-- The role of Dagster's storage behind a pooler, once, as a superuser in the database of the installation. A pooler takes no search path from a
-- URL, so the role has it; what it makes belongs to the role of the service, which reads it for backups and the nightly cleanup.
CREATE ROLE tasks_pipeline_dagster LOGIN IN ROLE tasks_pipeline;
ALTER ROLE tasks_pipeline_dagster IN DATABASE tasks_pipeline SET role = tasks_pipeline;
ALTER ROLE tasks_pipeline_dagster IN DATABASE tasks_pipeline SET search_path = dagster, public;
