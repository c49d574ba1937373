"""The infrastructure on AWS: CloudFormation templates, and what is built to be deployed."""
