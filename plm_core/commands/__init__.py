"""The commands of ``plm``, one module for each group: functions whose arguments become options."""
